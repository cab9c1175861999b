"""Finding this user's processes by what they were started with."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from provision.domain.server import ProcessIdentity
from provision.host.process import identify

_LINUX = sys.platform == "linux"


def with_environment(name: str, value: str) -> list[ProcessIdentity]:
    """Find the processes that carry ``name=value`` in their environment (Linux; else psutil)."""
    wanted = f"{name}={value}".encode()
    return _identified(_linux_pids_with(wanted) if _LINUX else _psutil_pids_with(name, value))


def with_arguments(arguments: Sequence[str], directory: Path) -> list[ProcessIdentity]:
    """Find the processes that have exactly these arguments after the name of their program.

    ``directory`` has to be the same one for them: a container may have another of that name.
    """
    return _identified(_linux_pids_called(arguments, directory) if _LINUX else _psutil_pids_called(list(arguments)))


def _identified(pids: Sequence[int]) -> list[ProcessIdentity]:
    return [found for pid in pids if pid != os.getpid() and (found := identify(pid))]


def _linux_pids_with(wanted: bytes) -> list[int]:
    found = []
    for entry in filter(str.isdigit, os.listdir("/proc")):
        with suppress(OSError):
            if wanted in Path("/proc", entry, "environ").read_bytes().split(b"\0"):
                found.append(int(entry))
    return found


def _linux_pids_called(arguments: Sequence[str], directory: Path) -> list[int]:
    wanted = [os.fsencode(argument) for argument in arguments]
    found = []
    for entry in filter(str.isdigit, os.listdir("/proc")):
        process = Path("/proc", entry)
        with suppress(OSError):
            called = (process / "cmdline").read_bytes().split(b"\0")[1:-1]
            is_ours = called == wanted and process.stat().st_uid == os.geteuid()
            if is_ours and os.path.samefile(f"{process}/root{directory}", directory):
                found.append(int(entry))
    return found


def _psutil_pids_with(name: str, value: str) -> list[int]:
    import psutil

    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.environ().get(name) == value:
                found.append(process.pid)
    return found


def _psutil_pids_called(arguments: list[str]) -> list[int]:
    import psutil

    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.cmdline()[1:] == arguments and process.uids().effective == os.geteuid():
                found.append(process.pid)
    return found
