"""The port through which facts are read, and its real implementation.

``LocalMachine`` is this machine; ``ReplayMachine`` (in ``replay.py``) is a captured one. Probes take a
``Machine`` and never look further.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

MAX_READ_BYTES = 1 << 20


@dataclass(frozen=True)
class Command:
    """A program to run, as a value: no shell ever sees it."""

    argv: tuple[str, ...]
    timeout_s: float = 10.0
    env: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class CommandResult:
    """``returncode`` is negative for a signal, 127 where the program does not exist, 124 after the timeout."""

    returncode: int
    stdout: str = ""
    stderr: str = ""


NOT_FOUND = CommandResult(127, "", "not found")


@dataclass(frozen=True)
class Platform:
    """What the interpreter knows without reading a file. ``libc`` is like ``glibc 2.36``."""

    system: str
    machine: str
    release: str | None = None
    libc: str | None = None


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

    def free_bytes(self, path: str) -> int | None:
        """Return the bytes that this user may still write at ``path`` or its nearest existing parent."""

    def run(self, command: Command) -> CommandResult:
        """Run a program with stdin closed and ``LC_ALL=C``; never raises."""


class LocalMachine:
    """This machine."""

    def __init__(self, env: Mapping[str, str] | None = None) -> None:
        self._env = dict(os.environ if env is None else env)

    @property
    def platform(self) -> Platform:
        """Ask the kernel and the C library; ``platform.processor()`` would start a program."""
        uname = os.uname()
        return Platform(uname.sysname, uname.machine, uname.release, _glibc_version())

    @property
    def env(self) -> Mapping[str, str]:
        return self._env

    def read_text(self, path: str) -> str | None:
        try:
            with open(path, "rb") as file:
                return file.read(MAX_READ_BYTES).decode("utf-8", errors="replace")
        except (OSError, ValueError):
            return None

    def list_dir(self, path: str) -> tuple[str, ...]:
        try:
            return tuple(sorted(os.listdir(path)))
        except OSError:
            return ()

    def exists(self, path: str) -> bool:
        return os.path.exists(path)

    def free_bytes(self, path: str) -> int | None:
        place = Path(path)
        for candidate in (place, *place.parents):
            try:
                status = os.statvfs(candidate)
            except FileNotFoundError:
                continue
            except OSError:
                return None
            return status.f_bavail * status.f_frsize
        return None

    def run(self, command: Command) -> CommandResult:
        env = {**self._env, "LC_ALL": "C", **command.env}
        program = shutil.which(command.argv[0], path=env.get("PATH"))
        if program is None:
            return NOT_FOUND
        try:
            done = subprocess.run(
                [program, *command.argv[1:]],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=command.timeout_s,
                env=env,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return CommandResult(124, "", f"no answer within {command.timeout_s:g} s")
        except OSError as error:
            return CommandResult(126, "", str(error))
        return CommandResult(
            done.returncode,
            done.stdout.decode("utf-8", errors="replace"),
            done.stderr.decode("utf-8", errors="replace"),
        )


def _glibc_version() -> str | None:
    try:
        return os.confstr("CS_GNU_LIBC_VERSION")
    except (AttributeError, ValueError, OSError):
        return None


def is_macos() -> bool:
    """Tell whether this is macOS, where /proc does not exist."""
    return platform.system() == "Darwin"
