"""A file that is arriving: what is there of it, where it came from, and nobody else writing to it.

::

    <directory>/<key>.part        the bytes so far, locked by whoever adds to them
    <directory>/<key>.part.json   where they came from: address without login and query, ETag, size of the whole
    <directory>/<key>.rejected    what arrived last and was not what was expected, for a person to look at
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path

from provision.domain.frozen import frozen
from provision.errors import LockedError
from provision.host.files import PRIVATE_FILE, commit, explained, make_private_dir, sync
from provision.host.reading import read_bytes

KEPT_S = 14 * 86400.0
LOCK_WAIT_S = 600.0
POLL_S = 0.05
READ_BYTES = 1 << 20


@frozen
class Source:
    """Where the bytes of a part come from. ``etag`` is a strong one; ``size_bytes`` is that of the whole file."""

    url: str
    etag: str | None = None
    size_bytes: int | None = None


class Part:
    """What is there of one file; made by ``opened``. ``size_bytes`` and ``source`` tell how far it has come."""

    size_bytes: int
    source: Source | None

    def __init__(self, path: Path, handle: int, go_on: Callable[[], None]) -> None:
        self.path, self._go_on = path, go_on
        self._take(handle)

    def begin(self, source: Source) -> None:
        """Start anew from byte 0. The old bytes go first: a crash in between must not give them a new source."""
        if self.size_bytes:
            os.ftruncate(self._handle, 0)
            os.fsync(self._handle)
        self.size_bytes, self._hashed_bytes, self._digest = 0, 0, hashlib.sha256()
        self.came_from(source)

    def came_from(self, source: Source) -> None:
        """Remember where the next bytes come from."""
        if source != self.source:
            commit(_sidecar(self.path), json.dumps(asdict(source)).encode())
            self.source = source

    def write(self, data: bytes) -> None:
        """Add bytes at the end."""
        self.catch_up()
        left = memoryview(data)
        while left:
            left = left[os.pwrite(self._handle, left, self.size_bytes + len(data) - len(left)) :]
        self._digest.update(data)
        self.size_bytes += len(data)
        self._hashed_bytes = self.size_bytes

    def catch_up(self) -> None:
        """Hash what an earlier run has left here: it is read again, not believed."""
        while self._hashed_bytes < self.size_bytes:
            self._go_on()
            data = os.pread(self._handle, min(READ_BYTES, self.size_bytes - self._hashed_bytes), self._hashed_bytes)
            if not data:
                raise OSError(f"{self.path.name} was cut by somebody else")
            self._digest.update(data)
            self._hashed_bytes += len(data)

    def first_bytes(self, count: int) -> bytes:
        """Return how the file begins."""
        return os.pread(self._handle, count, 0)

    def sha256(self) -> str:
        """Return the hash of all that is there."""
        self.catch_up()
        return self._digest.hexdigest()

    def settle(self) -> None:
        """Make what is there survive a power cut; that is also when a disk says that it has no room for it."""
        os.fsync(self._handle)

    def place(self, target: Path) -> None:
        """Give the finished file its name, in one step and on the disk for good."""
        os.fchmod(self._handle, PRIVATE_FILE)
        self.settle()
        if not target.parent.is_dir():
            make_private_dir(target.parent)
        os.replace(self.path, target)
        _sidecar(self.path).unlink(missing_ok=True)
        sync(target.parent)

    def reject(self) -> Path:
        """Set the bytes aside, in place of what was set aside before under this key; return where they lie."""
        aside = self.path.with_suffix(".rejected")
        os.replace(self.path, aside)
        _sidecar(self.path).unlink(missing_ok=True)
        new = _acquire(self.path, self._go_on)  # where that is stopped, the old one is closed by ``close``
        os.close(self._handle)
        self._take(new)
        return aside

    def close(self) -> None:
        """Let others have it. A part without a byte is not kept."""
        if self.size_bytes == 0 and _is(self._handle, self.path):
            _sidecar(self.path).unlink(missing_ok=True)
            self.path.unlink()
        os.close(self._handle)

    def _take(self, handle: int) -> None:
        self._handle = handle
        self._digest, self._hashed_bytes = hashlib.sha256(), 0
        self.size_bytes = os.fstat(handle).st_size
        self.source = _read_source(_sidecar(self.path))


_FLAGS = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC


@contextmanager
def opened(directory: Path, key: str, go_on: Callable[[], None]) -> Iterator[Part]:
    """Hold the part of ``key`` while the body runs; somebody else who holds it is waited for.

    ``go_on`` raises where the work is stopped. Raises ``LockedError`` where the other does not come to an end.
    """
    path = directory / f"{key}.part"
    with explained("opening a part"):
        make_private_dir(directory)
        part = Part(path, _acquire(path, go_on), go_on)
    try:
        yield part
    finally:
        part.close()


def drop_old(directory: Path, now_s: float, kept_s: float = KEPT_S) -> None:
    """Remove what nobody has touched for two weeks, and what a killed process left half written beside a part."""
    with suppress(OSError):  # housekeeping must not keep anybody from working
        for path in untouched(directory, now_s, kept_s):
            path.unlink(missing_ok=True)


def untouched(directory: Path, now_s: float, kept_s: float) -> Iterator[Path]:
    """Yield what nobody has touched for ``kept_s`` seconds, and nobody holds. Raises ``OSError``."""
    for path in sorted(directory.iterdir()) if directory.is_dir() else ():
        if now_s - path.lstat().st_mtime > kept_s and not _is_locked(path):
            yield path


def _acquire(path: Path, go_on: Callable[[], None]) -> int:
    deadline = time.monotonic() + LOCK_WAIT_S
    while True:
        handle = os.open(path, _FLAGS, PRIVATE_FILE)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is(handle, path):  # not one that its holder has finished and renamed meanwhile
                return handle
        except BlockingIOError:
            pass
        os.close(handle)
        if time.monotonic() >= deadline:
            raise LockedError(f"Another process is fetching {path.name}.", "Wait for it, then run this again.")
        go_on()
        time.sleep(POLL_S)


def _is(handle: int, path: Path) -> bool:
    """Tell whether an open file still has this name."""
    try:
        return os.path.samestat(os.fstat(handle), os.stat(path))
    except FileNotFoundError:
        return False


def _is_locked(path: Path) -> bool:
    if path.suffix != ".part":
        return False
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _sidecar(path: Path) -> Path:
    return path.with_name(f"{path.name}.json")


def _read_source(sidecar: Path) -> Source | None:
    """Return what the sidecar says, ``None`` where it says nothing that can be understood."""
    try:
        read = json.loads(read_bytes(sidecar) or b"null")
        url, etag, size = read["url"], read["etag"], read["size_bytes"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    sound = isinstance(url, str) and isinstance(etag, (str, type(None))) and isinstance(size, (int, type(None)))
    return Source(url, etag, size) if sound else None
