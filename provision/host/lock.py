"""One change at a time: a kernel ``flock``, which cannot outlive its holder.

The file is never removed while the prefix lives. Who holds it stands beside it for the message only; it never
decides anything.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from provision.errors import LockedError
from provision.host.files import PRIVATE_DIR, PRIVATE_FILE, explained

POLL_S = 0.05


@contextmanager
def exclusive(path: Path, holder: Path, doing: str, wait_s: float, waiting: Callable[[str], None]) -> Iterator[None]:
    """Hold the lock while the body runs.

    Waits up to ``wait_s`` seconds, calling ``waiting`` once with who holds it; then raises ``LockedError``.
    A lock file that was removed under us (by ``destroy``) is opened anew.
    """
    handle = _acquire(path, holder, wait_s, waiting)
    try:
        with suppress(OSError):  # only for the message
            holder.write_text(f"{os.getpid()} fabric {doing}\n", encoding="utf-8")
        yield
    finally:
        with suppress(OSError):
            holder.unlink(missing_ok=True)
        os.close(handle)


def _acquire(path: Path, holder: Path, wait_s: float, waiting: Callable[[str], None]) -> int:
    deadline = time.monotonic() + wait_s
    told = False
    while True:
        handle = _try(path)
        if handle is not None:
            return handle
        who = _describe(holder)
        if time.monotonic() >= deadline:
            raise LockedError(f"Another fabric is at work here: {who}.", "Wait for it to finish, then run this again.")
        if not told:
            waiting(who)
            told = True
        time.sleep(POLL_S)


def _try(path: Path) -> int | None:
    """Return an open, locked file that still has its name, or ``None`` while somebody else holds it."""
    with explained("taking the lock"):
        path.parent.mkdir(mode=PRIVATE_DIR, parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, PRIVATE_FILE)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(handle).st_ino == os.stat(path).st_ino:
            return handle
    except (BlockingIOError, FileNotFoundError):
        pass
    os.close(handle)
    return None


def _describe(holder: Path) -> str:
    try:
        pid, _, command = holder.read_text(encoding="utf-8").strip().partition(" ")
    except OSError:
        return "it has just started"
    return f"`{command}`, process {pid}" if pid else "it has just started"
