"""Reading everything that is installed, byte for byte, and comparing it with what was recorded."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from provision.apply.records import content_sha256, entry_drift, known_sha256
from provision.domain.drift import Drift, DriftKind
from provision.domain.plan import Kind
from provision.domain.state import State, StoredFile, StoreEntry
from provision.errors import InterruptedByUserError
from provision.host.files import explained
from provision.host.layout import Layout

AT_ONCE = 8  # more only make a disk seek


@dataclass(frozen=True)
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


@dataclass(frozen=True)
class Verified:
    """``unhashed`` are the names of entries of older versions that hold files whose hash nobody knows."""

    problems: tuple[Problem, ...]
    unhashed: tuple[str, ...]
    files: int
    size_bytes: int


@dataclass(frozen=True)
class _File:
    """A recorded file, and what a look at it without reading has told, if that was anything."""

    entry: StoreEntry
    file: StoredFile
    path: Path
    expected: str | None
    drift: Drift | None

    @property
    def is_read(self) -> bool:
        """Whether its content has to be read: it is there, has the right size, and is known."""
        drift = self.drift
        if self.expected is None or (drift and drift.kind not in (DriftKind.CONTENT, DriftKind.MODE)):
            return False
        return drift is None or self.path.lstat().st_size == self.file.size_bytes


def verify(layout: Layout, state: State, reading: Callable[[int], Callable[[int], None]]) -> Verified:
    """Read the whole store, several files at once.

    ``reading`` is told how many bytes that will be, and returns what is called with every number of bytes that was
    read, from any thread. Raises ``FabricError`` for what cannot be read.
    """
    with explained("reading the store"):
        problems, files = list[Problem](), list[_File]()
        for entry in state.entries.values():
            drifts = list(entry_drift(layout, entry))
            problems += [Problem(entry.key, drift) for drift in drifts if drift.kind is DriftKind.EXTRA]
            files += _files(layout, entry, {drift.path: drift for drift in drifts if drift.path})
        read = [each for each in files if each.is_read]
        size_bytes = sum(each.file.size_bytes for each in read)
        hashes = _hashed(read, reading(size_bytes))
    problems += [problem for each in files if (problem := _problem(each, hashes.get(each.path)))]
    problems += _strangers(layout, state)
    unhashed = tuple(sorted({each.entry.name for each in files if each.expected is None}))
    return Verified(tuple(problems), unhashed, len(read), size_bytes)


def _files(layout: Layout, entry: StoreEntry, drifts: Mapping[str, Drift]) -> Iterator[_File]:
    root, pinned = layout.prefix / entry.path, known_sha256(entry)
    for file in entry.files:
        path = root / file.path if file.path else root
        yield _File(entry, file, path, file.sha256 or pinned.get(file.path), drifts.get(str(path)))


def _hashed(files: Iterable[_File], arrived: Callable[[int], None]) -> dict[Path, str]:
    """Return the SHA-256 of each, the largest begun first; Ctrl-C stops all of them."""
    stop = threading.Event()

    def go_on(count: int) -> None:
        if stop.is_set():
            raise InterruptedByUserError("Stopped.")
        arrived(count)

    def sha256(each: _File) -> tuple[Path, str]:
        return each.path, content_sha256(each.path, follows_links=each.entry.follows_links, arrived=go_on)

    largest_first = sorted(files, key=lambda each: -each.file.size_bytes)
    with ThreadPoolExecutor(min(AT_ONCE, os.cpu_count() or 1)) as pool:
        try:
            return dict(pool.map(sha256, largest_first))
        except BaseException:
            stop.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _problem(each: _File, sha256: str | None) -> Problem | None:
    drift, entry = each.drift, each.entry
    if sha256 is None:  # it was not read
        return Problem(entry.key, drift, each.expected) if drift else None
    if sha256 != each.expected:
        kind = DriftKind.PROGRAM if entry.follows_links and each.path.is_symlink() else DriftKind.CONTENT
        detail = f"{each.path.name} has other bytes than were installed"
        drift = Drift(kind, Kind(entry.kind), entry.name, detail, str(each.path))
        return Problem(entry.key, drift, each.expected, sha256)
    if drift is None:
        return None
    if drift.kind is DriftKind.CONTENT:
        detail = f"{each.path.name} was touched; its bytes are what they were"
        return Problem(entry.key, replace(drift, detail=detail), each.expected, sha256, touched=True)
    return Problem(entry.key, drift, each.expected, sha256)


def _strangers(layout: Layout, state: State) -> Iterator[Problem]:
    """Yield what lies in the store and belongs to no entry."""
    known = {layout.prefix / entry.path for entry in state.entries.values()}
    for kind, directory in ((Kind.ENGINE, layout.engines), (Kind.MODEL, layout.models)):
        for path in sorted(directory.iterdir()) if directory.is_dir() else ():
            if path not in known:
                detail = f"{path.name} is in no record; `fabric gc` removes it if it is fabric's"
                yield Problem("", Drift(DriftKind.EXTRA, kind, path.name, detail, str(path)))
