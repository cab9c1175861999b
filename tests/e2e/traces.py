"""What a server leaves on a machine, as far as it can be told from what everybody else does there meanwhile."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

import psutil

from tests.standin.command import eventually, processes_of

SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - only looked at
SETTLING_S = 5.0


class Watch:
    """Looks at everything under one directory, and at what the processes that know of it use elsewhere."""

    def __init__(self, place: Path) -> None:
        self._place = place
        self._files, self._abandoned = below(place), abandoned()
        self._ports: set[int] = set()
        self._memory: set[str] = set()

    def note(self) -> None:
        """Remember which ports and which shared memory are in use now."""
        processes = processes_of(self._place)
        self._ports |= listening(processes)
        self._memory |= mapped(processes)

    def left(self) -> dict[str, Sequence[object]]:
        """Return what was not there at the beginning and is now; empty where that is nothing."""
        running = processes_of(self._place)
        memory = {name for name in self._memory if Path(name).exists()} | (abandoned() - self._abandoned)
        found: dict[str, Sequence[object]] = {
            "files": sorted(below(self._place) - self._files),
            "processes": [(process.pid, process.name()) for process in running],
            "ports": sorted(self._ports & listening(psutil.process_iter())) if self._ports else [],
            "shared memory": sorted(memory),
        }
        return {kind: names for kind, names in found.items() if names}

    def assert_nothing_left(self, *, but_files: bool = False) -> None:
        """Fail for whatever is still there after a moment: a process that was just killed takes one to vanish."""

        def look() -> dict[str, Sequence[object]]:
            return {kind: names for kind, names in self.left().items() if not (but_files and kind == "files")}

        assert eventually(look, until=lambda found: not found, timeout_s=SETTLING_S) == {}


def below(path: Path) -> set[str]:
    """Every file and directory under ``path``."""
    return {str(Path(directory, name)) for directory, dirs, files in os.walk(path) for name in [*dirs, *files]}


def listening(processes: Iterable[psutil.Process]) -> set[int]:
    """The TCP ports that these processes listen on."""
    found: set[int] = set()
    for process in processes:
        with suppress(psutil.Error, OSError):
            found |= {c.laddr.port for c in process.net_connections("tcp") if c.status == psutil.CONN_LISTEN}
    return found


def mapped(processes: Iterable[psutil.Process]) -> set[str]:
    """The files of shared memory that these processes have mapped.

    They are told by their inodes: a semaphore is mapped under another name before it gets its own.
    """
    inodes: set[int] = set()
    for process in processes:
        with suppress(OSError):
            maps = Path(f"/proc/{process.pid}/maps").read_text(encoding="utf-8", errors="replace")
            inodes |= {int(line.split()[4]) for line in maps.splitlines() if f"{SHARED_MEMORY}/" in line}
    found = set()
    for path in SHARED_MEMORY.iterdir() if SHARED_MEMORY.is_dir() else ():
        with suppress(OSError):
            found |= {str(path)} if path.stat().st_ino in inodes else set()
    return found


def abandoned() -> set[str]:
    """The files of shared memory that no process has mapped."""
    there = {str(path) for path in SHARED_MEMORY.iterdir()} if SHARED_MEMORY.is_dir() else set()
    return there - mapped(psutil.process_iter()) if there else set()
