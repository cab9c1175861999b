"""The port through which facts are read, and its real implementation.

``LocalMachine`` is this machine; ``ReplayMachine`` (in ``replay.py``) is a captured one. Probes take a
``Machine`` and never look further.
"""

from __future__ import annotations

import os
import platform
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from provision.domain.frozen import frozen
from provision.host import listening, program
from provision.host.environment import without_secrets
from provision.host.listening import Listener
from provision.host.program import NOT_FOUND, Command, CommandResult

if TYPE_CHECKING:
    from provision.host.answer import Response

MAX_READ_BYTES = 1 << 20
READ_BYTES = 1 << 16
PROBE = "fabric-probe"
PROBES = Path(__file__).parent / "probes"

__all__ = [
    "NOT_FOUND",
    "PROBE",
    "Access",
    "Command",
    "CommandResult",
    "Listener",
    "LocalMachine",
    "Machine",
    "Platform",
    "Space",
    "is_macos",
]


@frozen
class Platform:
    """What the interpreter knows without reading a file. ``libc`` is like ``glibc 2.36``."""

    system: str
    machine: str
    release: str | None = None
    libc: str | None = None
    uid: int | None = None


@frozen
class Access:
    """Whether this user may read and write a file, and the group that it belongs to: its name, or its number."""

    allowed: bool
    group: str | None = None


@frozen
class Space:
    """The room on a file system: what this user may still write, and what there is in all."""

    free_bytes: int
    total_bytes: int | None = None


class Machine(Protocol):
    """Reading a machine. Nothing here changes it, hangs, or raises for what is absent."""

    @property
    def platform(self) -> Platform: ...

    @property
    def env(self) -> Mapping[str, str]: ...

    def read_text(self, path: str) -> str | None:
        """Return the first MiB of a file, undecodable bytes replaced; ``None`` where it cannot be read."""

    def list_dir(self, path: str) -> tuple[str, ...]:
        """Return the sorted names in a directory; empty where there is none."""

    def exists(self, path: str) -> bool: ...

    def link_target(self, path: str) -> str | None:
        """Return what a symbolic link points to, as it stands there; ``None`` where there is no link."""

    def access(self, path: str) -> Access | None:
        """Return who may use a device node; ``None`` where there is none."""

    def space(self, path: str) -> Space | None:
        """Return the room at ``path`` or its nearest existing parent."""

    def run(self, command: Command) -> CommandResult:
        """Run a program with stdin closed and ``LC_ALL=C``; never raises.

        The program ``fabric-probe`` is our own: ``("fabric-probe", NAME)`` runs ``probes/NAME.py``, which loads a
        vendor's library in a process of its own and prints one JSON document.
        """

    def listeners(self, ports: Sequence[int]) -> tuple[Listener, ...]:
        """Return who listens on which of ``ports`` of this machine, in their order."""

    def http_get(self, port: int, path: str) -> Response:
        """GET ``path`` from whoever listens on a port of this machine; what it takes in size and time is bounded."""

    def interrupt(self) -> None:
        """End the programs that ``run`` waits for in other threads."""


class LocalMachine:
    """This machine."""

    def __init__(self, env: Mapping[str, str] | None = None) -> None:
        self._env = dict(os.environ if env is None else env)
        self._stop = threading.Event()

    @property
    def platform(self) -> Platform:
        """Ask the kernel and the C library; ``platform.processor()`` would start a program."""
        uname = os.uname()
        return Platform(uname.sysname, uname.machine, uname.release, _glibc_version(), os.geteuid())

    @property
    def env(self) -> Mapping[str, str]:
        return self._env

    def read_text(self, path: str) -> str | None:
        parts, size = [], 0
        try:
            with open(path, "rb", buffering=0) as file:  # three times as fast for the small files of /proc
                while size < MAX_READ_BYTES and (part := file.read(READ_BYTES)):
                    parts.append(part)
                    size += len(part)
        except (OSError, ValueError):
            return None
        return b"".join(parts)[:MAX_READ_BYTES].decode("utf-8", errors="replace")

    def list_dir(self, path: str) -> tuple[str, ...]:
        try:
            return tuple(sorted(os.listdir(path)))
        except OSError:
            return ()

    def exists(self, path: str) -> bool:
        return os.path.exists(path)

    def link_target(self, path: str) -> str | None:
        try:
            return os.readlink(path)
        except (OSError, ValueError):
            return None

    def access(self, path: str) -> Access | None:
        try:
            return Access(os.access(path, os.R_OK | os.W_OK), _group_name(os.stat(path).st_gid))
        except (OSError, ValueError):
            return None

    def space(self, path: str) -> Space | None:
        place = Path(path)
        for candidate in (place, *place.parents):
            try:
                status = os.statvfs(candidate)
            except FileNotFoundError:
                continue
            except OSError:
                return None
            return Space(status.f_bavail * status.f_frsize, status.f_blocks * status.f_frsize)
        return None

    def run(self, command: Command) -> CommandResult:
        if command.argv[0] == PROBE:
            script = PROBES / f"{command.argv[1]}.py"
            command = replace(command, argv=(sys.executable, "-I", "-B", str(script), *command.argv[2:]))
        return program.run(command, {**without_secrets(self._env), "LC_ALL": "C"}, self._stop)

    def listeners(self, ports: Sequence[int]) -> tuple[Listener, ...]:
        return listening.listeners(ports)

    def http_get(self, port: int, path: str) -> Response:
        return listening.ask(port, path)

    def interrupt(self) -> None:
        self._stop.set()


def _group_name(number: int) -> str:
    import grp

    try:
        return grp.getgrgid(number).gr_name
    except KeyError:  # a container may know the number only
        return str(number)


def _glibc_version() -> str | None:
    try:
        return os.confstr("CS_GNU_LIBC_VERSION")
    except (AttributeError, ValueError, OSError):
        return None


def is_macos() -> bool:
    """Tell whether this is macOS, where /proc does not exist."""
    return platform.system() == "Darwin"
