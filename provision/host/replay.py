"""A captured machine, read as if it were this one."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path

from provision.host.answer import Response
from provision.host.capture_format import (
    COMMANDS_FILE,
    ENV_FILE,
    PLACEHOLDER,
    PLATFORM_FILE,
    ROOT,
    SERVERS_FILE,
    CapturedCommand,
    CapturedServer,
    load,
    load_platform,
)
from provision.host.machine import MAX_READ_BYTES, NOT_FOUND, Access, Command, CommandResult, Listener, Platform, Space

MAX_LINK_BYTES = 4096


class UnknownCommand(AssertionError):  # noqa: N818 - a failed assertion of a test, not an error of fabric
    """A program was run, or a server asked, that the capture does not hold; only a strict replay says so."""


class ReplayMachine:
    """The machine that was captured into ``directory``.

    Nothing outside the capture is read, whatever links or ``..`` say. A program that it does not hold is not
    found; with ``strict``, running one raises ``UnknownCommand``.

    Raises ``InvalidInputError`` for a capture that cannot be read.
    """

    def __init__(self, directory: Path, strict: bool = False) -> None:
        self._root = os.path.realpath(directory / ROOT)
        self._strict = strict
        self._captured = load_platform(directory / PLATFORM_FILE)
        self._missing = frozenset(self._captured.missing)
        self._env = load(directory / ENV_FILE, dict[str, str], {})
        commands = load(directory / COMMANDS_FILE, list[CapturedCommand], [])
        self._servers = {each.port: each for each in load(directory / SERVERS_FILE, list[CapturedServer], [])}
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
