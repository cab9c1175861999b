"""One at a time: a kernel ``flock``, which cannot outlive its holder.

The file of a prefix is never removed while the prefix lives. Who holds it stands beside it for the message only; it
never decides anything. A passing lock leaves no file behind.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from provision.errors import LockedError
from provision.host.files import PRIVATE_FILE, explained, make_missing_dirs, make_own_dir, open_private

POLL_S = 0.05
_NO_LOCK = -1


@contextmanager
def exclusive(
    path: Path,
    holder: Path,
    doing: str,
    wait_s: float,
    waiting: Callable[[str], None],
    *,
    make_place: Callable[[Path], None] = make_missing_dirs,
) -> Iterator[None]:
    """Hold the lock while the body runs. ``make_place`` makes the directory of the lock where it is missing.

    Waits up to ``wait_s`` seconds, calling ``waiting`` once with who holds it; then raises ``LockedError``.
    A lock file that was removed under us (by ``destroy``) is opened anew.
    """
    handle = _acquire(lambda: _try(path, make_place), _patience(holder, wait_s, waiting))
    try:
        _sign(holder, f"{os.getpid()} fabric {doing}\n")
        yield
    finally:
        with suppress(OSError):
            holder.unlink(missing_ok=True)
        os.close(handle)


@contextmanager
def shared(path: Path, holder: Path, doing: str, wait_s: float, waiting: Callable[[str], None]) -> Iterator[None]:
    """Keep everybody from changing anything while the body runs; others may look at the same time.

    It waits as ``exclusive`` does, and writes nothing but its name for whoever has to wait. Where there is no lock
    file, or none that may be read, there is nobody to wait for.
    """
    handle = _acquire(lambda: _try_shared(path), _patience(holder, wait_s, waiting))
    if handle == _NO_LOCK:
        yield
        return
    me = f"{os.getpid()} fabric {doing}\n"
    try:
        _sign(holder, me)
        yield
    finally:
        with suppress(OSError):
            if holder.read_text(encoding="utf-8") == me:  # and not that of another who looks
                holder.unlink()
        os.close(handle)


def _sign(holder: Path, text: str) -> None:
    """Say who is at work; only for the message."""
    with suppress(OSError), open(holder, "w", encoding="utf-8", opener=open_private) as file:
        file.write(text)


def _patience(holder: Path, wait_s: float, waiting: Callable[[str], None]) -> Callable[[], None]:
    """Return what is called while somebody else holds the lock: it tells once, and raises when it has been enough."""
    deadline = time.monotonic() + wait_s
    told = False

    def held() -> None:
        nonlocal told
        who = _describe(holder)
        if time.monotonic() >= deadline:
            raise LockedError(f"Another fabric is at work here: {who}.", "Wait for it to finish, then run this again.")
        if not told:
            waiting(who)
            told = True

    return held


@contextmanager
def passing(path: Path, held: Callable[[], None]) -> Iterator[None]:
    """Hold a lock of which nothing is left afterwards, neither the file nor, where it was the last, its directory.

    ``held`` is called again and again while somebody else holds it; what it raises ends the waiting. Raises
    ``RefusedError`` where the directory is somebody else's.
    """
    handle = _acquire(lambda: _try(path, make_own_dir), held)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)  # while it is held: who waits with the old file finds that it has no name
        os.close(handle)
        with suppress(OSError):  # somebody else's lock is in it
            path.parent.rmdir()


def _acquire(attempt: Callable[[], int | None], held: Callable[[], None]) -> int:
    while (handle := attempt()) is None:
        held()
        time.sleep(POLL_S)
    return handle


def _try(path: Path, make_place: Callable[[Path], None]) -> int | None:
    """Return an open, locked file that still has its name, or ``None`` while somebody else holds it."""
    with explained("taking the lock"):
        make_place(path.parent)
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, PRIVATE_FILE)
        except FileNotFoundError:  # the last holder has just removed the directory
            return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(handle).st_ino == os.stat(path).st_ino:
            return handle
    except (BlockingIOError, FileNotFoundError):
        pass
    os.close(handle)
    return None


def _try_shared(path: Path) -> int | None:
    """Return an open file that nobody can lock for himself, ``_NO_LOCK`` where there is none to open."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return _NO_LOCK
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        if os.fstat(handle).st_ino == os.stat(path).st_ino:
            return handle
    except (BlockingIOError, FileNotFoundError):  # the latter after a `destroy` that held it until now
        pass
    os.close(handle)
    return None


def _describe(holder: Path) -> str:
    try:
        pid, _, command = holder.read_text(encoding="utf-8").strip().partition(" ")
    except OSError:
        return "it has just started"
    return f"`{command}`, process {pid}" if pid else "it has just started"
