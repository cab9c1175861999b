"""A captured machine, read as if it were this one.

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
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, TypeVar

import msgspec

from provision.errors import InvalidInputError
from provision.host.answer import Response
from provision.host.machine import MAX_READ_BYTES, NOT_FOUND, Access, Command, CommandResult, Listener, Platform, Space

T = TypeVar("T")

PLACEHOLDER = ".gitkeep"
PLATFORM_FILE = "platform.json"
COMMANDS_FILE = "commands.json"
ENV_FILE = "env.json"
SERVERS_FILE = "servers.json"
ROOT = "root"
MAX_JSON_BYTES = 1 << 26
CAPTURE_VERSION = 1
MAX_LINK_BYTES = 4096


class UnknownCommand(AssertionError):  # noqa: N818 - a failed assertion of a test, not an error of fabric
    """A program was run, or a server asked, that the capture does not hold; only a strict replay says so."""


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


class ReplayMachine:
    """The machine that was captured into ``directory``.

    Nothing outside the capture is read, whatever links or ``..`` say. A program that it does not hold is not
    found; with ``strict``, running one raises ``UnknownCommand``.

    Raises ``InvalidInputError`` for a capture that cannot be read.
    """

    def __init__(self, directory: Path, strict: bool = False) -> None:
        self._root = os.path.realpath(directory / ROOT)
        self._strict = strict
        self._captured = _load_platform(directory / PLATFORM_FILE)
        self._missing = frozenset(self._captured.missing)
        self._env = _load(directory / ENV_FILE, dict[str, str], {})
        commands = _load(directory / COMMANDS_FILE, list[CapturedCommand], [])
        self._servers = {each.port: each for each in _load(directory / SERVERS_FILE, list[CapturedServer], [])}
        self._results = {c.argv: CommandResult(c.returncode, c.stdout, c.stderr) for c in commands}

    @property
    def prefix(self) -> str | None:
        """Where the room was measured; ``None`` where the capture does not say."""
        return self._captured.prefix

    @property
    def platform(self) -> Platform:
        captured = self._captured
        return Platform(captured.system, captured.machine, captured.release, captured.libc, captured.uid)

    @property
    def env(self) -> Mapping[str, str]:
        return self._env

    def read_text(self, path: str) -> str | None:
        place = self._inside(path)
        try:
            return None if place is None else _text(place, MAX_READ_BYTES)
        except OSError:
            return None

    def list_dir(self, path: str) -> tuple[str, ...]:
        if path in self._captured.listings:
            return self._captured.listings[path]
        place = self._inside(path)
        if place is None:
            return ()
        try:
            return tuple(sorted(name for name in os.listdir(place) if name != PLACEHOLDER))
        except OSError:
            return ()

    def exists(self, path: str) -> bool:
        place = self._inside(path)
        return place is not None and path not in self._missing and os.path.exists(place)

    def link_target(self, path: str) -> str | None:
        if path in self._captured.links:
            return self._captured.links[path]
        place = self._inside(os.path.dirname(path))
        if place is None:
            return None
        link = os.path.join(place, os.path.basename(path))
        try:
            target = os.readlink(link) if os.path.islink(link) else _text(link, MAX_LINK_BYTES)
        except (OSError, ValueError):
            return None
        return target.strip() or None

    def access(self, path: str) -> Access | None:
        if path in self._captured.access:
            return self._captured.access[path]
        return Access(allowed=True) if self.exists(path) else None

    def space(self, path: str) -> Space | None:  # noqa: ARG002 - a capture has one file system
        free = self._captured.free_bytes
        return None if free is None else Space(free, self._captured.total_bytes)

    def run(self, command: Command) -> CommandResult:
        result = self._results.get(command.argv)
        if result is None and self._strict:
            raise UnknownCommand(f"the capture does not hold {command.argv}, only {list(self._results)}")
        return result or NOT_FOUND

    def listeners(self, ports: Sequence[int]) -> tuple[Listener, ...]:
        found = (self._servers[port] for port in ports if port in self._servers)
        return tuple(Listener(each.port, each.owner, each.ours) for each in found)

    def http_get(self, port: int, path: str) -> Response:
        answers = self._servers[port].answers if port in self._servers else {}
        if path in answers:
            told = answers[path]
            return Response(told.status, told.body.encode(), told.error, told.headers)
        if self._strict:
            raise UnknownCommand(f"the capture does not hold GET {path} from port {port}, only {list(answers)}")
        return Response(0, error="the capture does not hold it")

    def interrupt(self) -> None:
        """Nothing runs here."""

    def _inside(self, path: str) -> str | None:
        """Return where ``path`` lies in the capture; ``None`` where it leads out of it."""
        try:
            place = os.path.realpath(os.path.join(self._root, path.lstrip("/")))
        except (OSError, ValueError):
            return None
        return place if place == self._root or place.startswith(self._root + os.sep) else None


def _text(path: str, limit: int) -> str:
    """Read a regular file; of anything else, such as a pipe that somebody put there, reading could wait for ever."""
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise OSError
    with open(path, "rb") as file:
        return file.read(limit).decode("utf-8", errors="replace")


def _load_platform(path: Path) -> CapturedPlatform:
    version = _load(path, CapturedFormat).version
    if version > CAPTURE_VERSION:
        raise InvalidInputError(
            f"{path.parent} was captured by a newer fabric, in format {version}; this one reads {CAPTURE_VERSION}.",
            "Update fabric, then try again.",
        )
    return _load(path, CapturedPlatform)


def _load(path: Path, kind: type[T], absent: T | None = None) -> T:
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
