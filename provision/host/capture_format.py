"""The files of a captured machine, and how they are read.

A capture is a directory::

    platform.json   system, machine; maybe version, release, libc, uid, the room, prefix, note, and what files
                    cannot say: access, links, missing, listings
    root/           files of the machine at their own paths; an empty directory holds a .gitkeep; a symbolic link
                    may be a file that holds where it points to
    commands.json   [{"argv": [...], "returncode": 0, "stdout": "", "stderr": ""}, ...]; may be absent
    env.json        the environment; may be absent
    servers.json    [{"port": 11434, "owner": "ollama (process 812)", "answers": {"/api/version": {...}}}, ...]: who
                    listened, and what they answered; may be absent

``docs/captures.md`` describes it for people.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import Annotated, TypeVar

import msgspec

from provision.errors import InvalidInputError
from provision.host.machine import Access

T = TypeVar("T")

PLACEHOLDER = ".gitkeep"
PLATFORM_FILE = "platform.json"
COMMANDS_FILE = "commands.json"
ENV_FILE = "env.json"
SERVERS_FILE = "servers.json"
ROOT = "root"
MAX_JSON_BYTES = 1 << 26
CAPTURE_VERSION = 1


class CapturedFormat(msgspec.Struct):
    """What is read of ``platform.json`` before all else, whatever a later version added."""

    version: Annotated[int, msgspec.Meta(ge=1)] = CAPTURE_VERSION


class CapturedPlatform(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """``platform.json``.

    ``version`` is that of the capture's format. ``prefix`` is where the room was measured. ``access`` says who may
    use a device node; a node that is in ``root/`` and not here may be used. ``links`` maps symbolic links to what they
    point to, ``missing`` are names that stand in a directory and lead nowhere, ``listings`` are the names in
    directories where they are not those in ``root/``. ``note`` is for people: where the capture comes from.
    """

    system: str
    machine: str
    version: int = CAPTURE_VERSION
    release: str | None = None
    libc: str | None = None
    uid: int | None = None
    free_bytes: int | None = None
    total_bytes: int | None = None
    prefix: str | None = None
    access: dict[str, Access | None] = {}
    links: dict[str, str | None] = {}
    missing: tuple[str, ...] = ()
    listings: dict[str, tuple[str, ...]] = {}
    note: str = ""


class CapturedCommand(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """One program that was run, and what it answered."""

    argv: tuple[str, ...]
    returncode: int = 0
    stdout: str = ""
    stderr: str = ""


class CapturedAnswer(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """What a server answered to a GET; ``status`` 0 and ``error`` where no answer came."""

    status: int = 200
    body: str = ""
    headers: dict[str, str] = {}
    error: str | None = None


class CapturedServer(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """One program that listened on a port of the machine; ``ours`` where a fabric had started it."""

    port: Annotated[int, msgspec.Meta(ge=1, le=65535)]
    owner: str | None = None
    ours: bool = False
    answers: dict[str, CapturedAnswer] = {}


def load_platform(path: Path) -> CapturedPlatform:
    """Return what ``platform.json`` says. Raises ``InvalidInputError`` as ``load``, and for that of a newer fabric."""
    version = load(path, CapturedFormat).version
    if version > CAPTURE_VERSION:
        raise InvalidInputError(
            f"{path.parent} was captured by a newer fabric, in format {version}; this one reads {CAPTURE_VERSION}.",
            "Update fabric, then try again.",
        )
    return load(path, CapturedPlatform)


def load(path: Path, kind: type[T], absent: T | None = None) -> T:
    """Return a file of a capture, ``absent`` where there is none and one is given.

    Raises ``InvalidInputError`` for one that is missing, cannot be read, or is not of its kind.
    """
    try:
        return msgspec.json.decode(_bytes(path), type=kind)
    except FileNotFoundError as error:
        if absent is not None:
            return absent
        raise InvalidInputError(f"{path} is missing.", "A capture is a directory with platform.json.") from error
    except OSError as error:
        raise InvalidInputError(f"Cannot read {path}: {error.strerror}.") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidInputError(f"Cannot use {path}: {error}.") from error


def _bytes(path: Path) -> bytes:
    status = path.stat()
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not stat.S_ISREG(status.st_mode) or status.st_size > MAX_JSON_BYTES:
        raise InvalidInputError(f"Cannot use {path}: it is no file, or larger than {MAX_JSON_BYTES >> 20} MiB.")
    return path.read_bytes()
