"""Processes: who they are, starting, signalling and finding them.

A pid says nothing about tomorrow. A process is (boot id, pid, start time), checked again at the moment of the
signal through a pidfd where the kernel has them.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path

from provision.domain.server import ProcessIdentity
from provision.host.files import open_private
from provision.host.proc_stat import ENDED, stat_fields

_LINUX = sys.platform == "linux"
_STARTTIME_FIELD = 22
PR_SET_PDEATHSIG = 1
POLL_S = 0.02


@cache
def boot_id() -> str:
    """Return an id that changes with every boot."""
    if _LINUX:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    import psutil

    return f"boot-{int(psutil.boot_time())}"


def identify(pid: int) -> ProcessIdentity | None:
    """Return who ``pid`` is now; ``None`` where it does not run (a zombie does not)."""
    started = _linux_start(pid) if _LINUX else _psutil_start(pid)
    return None if started is None else ProcessIdentity(pid, started, boot_id())


def myself() -> ProcessIdentity:
    """Return this process."""
    me = identify(os.getpid())
    if me is None:
        raise RuntimeError("this process has no entry in the process table")
    return me


def is_running(process: ProcessIdentity | None) -> bool:
    """Tell whether exactly this process still runs."""
    return process is not None and identify(process.pid) == process


def age_s(process: ProcessIdentity) -> float:
    """Return for how long this process has run, in seconds; setting the clock does not change that on Linux."""
    if _LINUX:
        return max(0.0, time.clock_gettime(time.CLOCK_BOOTTIME) - process.started / os.sysconf("SC_CLK_TCK"))
    return max(0.0, time.time() - process.started / 1e6)


def _linux_start(pid: int) -> int | None:
    fields = stat_fields(pid)
    if fields is None or fields[0] in ENDED:
        return None
    return int(fields[_STARTTIME_FIELD - 3])


def _psutil_start(pid: int) -> int | None:
    import psutil

    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else int(process.create_time() * 1e6)
    except psutil.Error:
        return None


def cpu_ticks(pid: int) -> int | None:
    """Return the processor time that ``pid`` has used, in clock ticks; ``None`` where that is not known."""
    fields = stat_fields(pid) if _LINUX else None
    return int(fields[11]) + int(fields[12]) if fields else None


def tree(pid: int) -> list[int]:
    """Return ``pid`` and all its descendants that run now."""
    if _LINUX:
        return _linux_tree(pid)
    import psutil

    try:
        return [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))]
    except psutil.Error:
        return []


def _linux_tree(pid: int) -> list[int]:
    """Without psutil, which takes longer to load than this to run."""
    children: dict[int, list[int]] = {}
    seen = set[int]()
    for entry in filter(str.isdigit, os.listdir("/proc")):
        fields = stat_fields(entry)
        if fields is not None and fields[0] not in ENDED:
            children.setdefault(int(fields[1]), []).append(int(entry))
            seen.add(int(entry))
    found = [pid] if pid in seen else []
    for each in found:
        found += children.get(each, ())
    return found


def send(process: ProcessIdentity, number: signal.Signals) -> bool:
    """Send a signal to exactly this process; ``False`` where it is gone."""
    if not hasattr(os, "pidfd_open"):
        return _send_checked(process, number)
    try:
        handle = os.pidfd_open(process.pid)
    except OSError:
        return False
    try:
        if not is_running(process):
            return False
        signal.pidfd_send_signal(handle, number)
        return True
    except ProcessLookupError:
        return False
    finally:
        os.close(handle)


def _send_checked(process: ProcessIdentity, number: signal.Signals) -> bool:
    if not is_running(process):
        return False
    try:
        os.kill(process.pid, number)
    except ProcessLookupError:
        return False
    return True


@cache
def can_wait() -> bool:
    """Tell whether the kernel says when a process ends, so that waiting for it costs nothing (Linux 5.3 and later)."""
    try:
        os.close(os.pidfd_open(os.getpid()))
    except (OSError, AttributeError):
        return False
    return True


def wait_gone(process: ProcessIdentity, timeout_s: float) -> bool:
    """Wait until this process has ended; ``False`` after the timeout."""
    deadline = time.monotonic() + timeout_s
    with suppress(OSError, AttributeError):
        handle = os.pidfd_open(process.pid)
        try:
            if is_running(process):
                select.select([handle], [], [], timeout_s)
        finally:
            os.close(handle)
    while is_running(process):
        if time.monotonic() >= deadline:
            return False
        time.sleep(POLL_S)
    return True


def start_detached(argv: Sequence[str], env: Mapping[str, str], log: Path, cwd: Path) -> int:
    """Start a program in a session of its own that outlives us; return its pid.

    Its output is appended to ``log``, its input is closed, no other file is inherited.
    """
    with open(log, "ab", opener=open_private) as output:
        child = subprocess.Popen(
            list(argv),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=dict(env),
            cwd=cwd,
            start_new_session=True,
            close_fds=True,
        )
    child.returncode = 0  # it is not ours to wait for; this keeps the interpreter from warning at exit
    return child.pid


def ending_with_parent(number: signal.Signals) -> Callable[[], object] | None:
    """Return what a child calls before it becomes its program, to get a signal when the thread that started it ends.

    ``None`` where the system has no such thing (Linux has). The thread has to wait for the child.
    """
    if not _LINUX:
        return None
    import ctypes

    prctl = ctypes.CDLL(None).prctl
    return lambda: prctl(PR_SET_PDEATHSIG, number)


def killed_for_memory() -> int:
    """Return how many processes the kernel has killed since boot because memory ran out, in any group of processes.

    0 where it does not tell.
    """
    try:
        with open("/proc/vmstat", encoding="ascii") as file:
            return next((int(line.split()[1]) for line in file if line.startswith("oom_kill ")), 0)
    except OSError:
        return 0
