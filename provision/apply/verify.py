"""Reading everything that is installed, byte for byte, and comparing it with what was recorded."""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from provision.apply.drift import current_drift
from provision.apply.records import content_sha256, entry_drift, pinned_sha256
from provision.apply.store import unrecorded
from provision.domain.drift import Drift, DriftKind
from provision.domain.frozen import frozen
from provision.domain.state import State, StoreEntry
from provision.errors import InterruptedByUserError
from provision.host.files import explained
from provision.host.layout import Layout

AT_ONCE = 8  # more only make a disk seek


@frozen
class Problem:
    """One file that is not what it was, in the entry ``key``; empty for what belongs to no entry.

    ``expected_sha256`` is what its content should have, ``sha256`` what it has, each where that is known. ``touched``
    says that its content is right and only its time has changed.
    """

    key: str
    drift: Drift
    expected_sha256: str | None = None
    sha256: str | None = None
    touched: bool = False

    @property
    def kind(self) -> str:
        """What is wrong, in a word."""
        return "touched" if self.touched else self.drift.kind.value


@frozen
class Verified:
    """``unhashed`` are the names of entries of older versions that hold files whose hash nobody knows."""

    problems: tuple[Problem, ...]
    unhashed: tuple[str, ...]
    files: int
    size_bytes: int


@frozen
class _Read:
    """A recorded file that has to be read: it is there with its size, and its hash is known."""

    path: Path
    follows_links: bool
    size_bytes: int


def verify(layout: Layout, state: State, reading: Callable[[int], Callable[[int], None]]) -> Verified:
    """Read the whole store, several files at once.

    ``reading`` is told how many bytes that will be, and returns what is called with every number of bytes that was
    read, from any thread. Raises ``FabricError`` for what cannot be read.
    """
    entries = [_with_pinned(entry) for entry in state.entries.values()]
    with explained("reading the store"):
        files = [file for entry in entries for file in _to_read(layout, entry)]
        size_bytes = sum(file.size_bytes for file in files)
        hashes = _hashed(files, reading(size_bytes))
        problems = [problem for entry in entries for problem in _problems(layout, entry, hashes)]
        problems += _strangers(layout, state)
        problems += [Problem("", drift) for drift in current_drift(layout, state)]
    unhashed = {entry.name for entry in entries if any(file.sha256 is None for file in entry.files)}
    return Verified(tuple(problems), tuple(sorted(unhashed)), len(files), size_bytes)


def _with_pinned(entry: StoreEntry) -> StoreEntry:
    """Return an entry with the hashes that models were pinned by, where an older version recorded none."""
    pinned = {path: sha256 for model in entry.known_as.values() for path, sha256 in pinned_sha256(model).items()}
    files = (replace(file, sha256=file.sha256 or pinned.get(file.path)) for file in entry.files)
    return replace(entry, files=tuple(files))


def _to_read(layout: Layout, entry: StoreEntry) -> Iterator[_Read]:
    root = layout.prefix / entry.path
    for file in entry.files:
        path = root / file.path
        if file.sha256 and os.path.lexists(path):
            status = path.stat() if entry.follows_links and path.exists() else path.lstat()
            is_file = stat.S_IFMT(status.st_mode) in (stat.S_IFREG, stat.S_IFLNK)
            if is_file and status.st_size == file.size_bytes:
                yield _Read(path, entry.follows_links, file.size_bytes)


def _hashed(files: Iterable[_Read], arrived: Callable[[int], None]) -> dict[str, str]:
    """Return the SHA-256 of each by its path, the largest begun first; Ctrl-C stops all of them."""
    stop = threading.Event()

    def go_on(count: int) -> None:
        if stop.is_set():
            raise InterruptedByUserError("Stopped.")
        arrived(count)

    def sha256(file: _Read) -> tuple[str, str]:
        return str(file.path), content_sha256(file.path, follows_links=file.follows_links, arrived=go_on)

    with ThreadPoolExecutor(min(AT_ONCE, os.cpu_count() or 1)) as pool:
        try:
            return dict(pool.map(sha256, sorted(files, key=lambda file: -file.size_bytes)))
        except BaseException:
            stop.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _problems(layout: Layout, entry: StoreEntry, hashes: dict[str, str]) -> Iterator[Problem]:
    root = layout.prefix / entry.path
    expected = {str(root / file.path): file.sha256 for file in entry.files}
    found = {drift.path: drift for drift in entry_drift(layout, entry, deep=True, hashes=hashes)}
    # What would be repaired without reading it, because its time is another.
    for drift in entry_drift(layout, entry, hashes=hashes):
        if drift.path not in found:
            said = replace(drift, detail=f"{Path(drift.path or '').name} was touched; its bytes are what they were")
            yield Problem(entry.key, said, touched=True)
    for path, drift in found.items():
        yield Problem(entry.key, drift, expected.get(path or ""), hashes.get(path or ""))


def _strangers(layout: Layout, state: State) -> Iterator[Problem]:
    """Yield what lies in the store and belongs to no entry."""
    for kind, path in unrecorded(layout, state.entries.values()):
        detail = f"{path.name} is in no record; `fabric gc` removes it if it is fabric's"
        yield Problem("", Drift(DriftKind.EXTRA, kind, path.name, detail, str(path)))
