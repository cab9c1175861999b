"""A captured machine, read as if it were this one.

A capture is a directory::

    platform.json   system, machine; maybe version, release, libc, uid, free_bytes, access, note
    root/           files of the machine at their own paths; an empty directory holds a .gitkeep; a symbolic link
                    may be a file that holds where it points to
    commands.json   [{"argv": [...], "returncode": 0, "stdout": "", "stderr": ""}, ...]; may be absent
    env.json        the environment; may be absent
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

import msgspec

from provision.errors import InvalidInputError
from provision.host.machine import MAX_READ_BYTES, NOT_FOUND, Access, Command, CommandResult, Platform

T = TypeVar("T")

PLACEHOLDER = ".gitkeep"
CAPTURE_VERSION = 1
MAX_LINK_BYTES = 4096


class UnknownCommand(AssertionError):  # noqa: N818 - a failed assertion of a test, not an error of fabric
    """A program was run that the capture does not hold; only a strict replay says so."""


class CapturedPlatform(msgspec.Struct, forbid_unknown_fields=True):
    """``platform.json``.

    ``version`` is that of the capture's format. ``access`` says who may use a device node; a node that is in
    ``root/`` and not here may be used. ``note`` is for people: where the capture comes from.
    """

    system: str
    machine: str
    version: int = CAPTURE_VERSION
    release: str | None = None
    libc: str | None = None
    uid: int | None = None
    free_bytes: int | None = None
    access: dict[str, Access] = {}
    note: str = ""


class CapturedCommand(msgspec.Struct, forbid_unknown_fields=True):
    """One program that was run, and what it answered."""

    argv: tuple[str, ...]
    returncode: int = 0
    stdout: str = ""
    stderr: str = ""


class ReplayMachine:
    """The machine that was captured into ``directory``.

    Nothing outside the capture is read, whatever links or ``..`` say. A program that it does not hold is not
    found; with ``strict``, running one raises ``UnknownCommand``.

    Raises ``InvalidInputError`` for a capture that cannot be read.
    """

    def __init__(self, directory: Path, strict: bool = False) -> None:
        self._root = os.path.realpath(directory / "root")
        self._strict = strict
        captured = _load(directory / "platform.json", CapturedPlatform)
        self._platform = Platform(captured.system, captured.machine, captured.release, captured.libc, captured.uid)
        self._free_bytes = captured.free_bytes
        self._access = captured.access
        self._env = _load(directory / "env.json", dict[str, str], {})
        commands = _load(directory / "commands.json", list[CapturedCommand], [])
        self._results = {c.argv: CommandResult(c.returncode, c.stdout, c.stderr) for c in commands}

    @property
    def platform(self) -> Platform:
        return self._platform

    @property
    def env(self) -> Mapping[str, str]:
        return self._env

    def read_text(self, path: str) -> str | None:
        place = self._inside(path)
        if place is None:
            return None
        try:
            with open(place, "rb") as file:
                return file.read(MAX_READ_BYTES).decode("utf-8", errors="replace")
        except OSError:
            return None

    def list_dir(self, path: str) -> tuple[str, ...]:
        place = self._inside(path)
        if place is None:
            return ()
        try:
            return tuple(sorted(name for name in os.listdir(place) if name != PLACEHOLDER))
        except OSError:
            return ()

    def exists(self, path: str) -> bool:
        place = self._inside(path)
        return place is not None and os.path.exists(place)

    def link_name(self, path: str) -> str | None:
        place = self._inside(os.path.dirname(path))
        if place is None:
            return None
        link = os.path.join(place, os.path.basename(path))
        try:
            target = os.readlink(link) if os.path.islink(link) else _small_text(link)
        except (OSError, ValueError):
            return None
        return os.path.basename(target.strip()) or None

    def access(self, path: str) -> Access | None:
        if path in self._access:
            return self._access[path]
        return Access(allowed=True) if self.exists(path) else None

    def free_bytes(self, path: str) -> int | None:  # noqa: ARG002 - a capture has one file system
        return self._free_bytes

    def run(self, command: Command) -> CommandResult:
        result = self._results.get(command.argv)
        if result is None and self._strict:
            raise UnknownCommand(f"the capture does not hold {command.argv}, only {list(self._results)}")
        return result or NOT_FOUND

    def _inside(self, path: str) -> str | None:
        """Return where ``path`` lies in the capture; ``None`` where it leads out of it."""
        try:
            place = os.path.realpath(os.path.join(self._root, path.lstrip("/")))
        except (OSError, ValueError):
            return None
        return place if place == self._root or place.startswith(self._root + os.sep) else None


def _small_text(path: str) -> str:
    with open(path, "rb") as file:
        return file.read(MAX_LINK_BYTES).decode("utf-8", errors="replace")


def _load(path: Path, kind: type[T], absent: T | None = None) -> T:
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except FileNotFoundError as error:
        if absent is not None:
            return absent
        raise InvalidInputError(f"{path} is missing.", "A capture is a directory with platform.json.") from error
    except OSError as error:
        raise InvalidInputError(f"Cannot read {path}: {error.strerror}.") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidInputError(f"Cannot use {path}: {error}.") from error
