"""What an installed tree was when it was finished, file by file, and what has become of it since."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from provision.domain.drift import Drift, DriftKind
from provision.domain.frozen import frozen
from provision.domain.model import Model
from provision.domain.resource import Kind
from provision.domain.state import StoredFile, StoreEntry
from provision.host.layout import Layout
from provision.host.reading import sha256_of_file

REHASH_BYTES = 64 << 20  # what is larger and was touched is not read at each look, only before it is made anew
TOUCHED = "was touched"
OTHERS_WRITE = 0o022
_OF_ENVIRONMENTS = "lib64"  # a link to lib, which is recorded in full


def record(
    layout: Layout,
    kind: str,
    name: str,
    path: Path,
    *,
    follows_links: bool = False,
    known: Mapping[str, str] | None = None,
) -> StoreEntry:
    """Describe a finished entry as it is now. ``known`` are SHA-256 by relative path that need not be computed again.

    A link counts as itself, wherever it leads; with ``follows_links`` as what it leads to, for a tree that links to
    programs of others: it is of no use when those are gone or were changed. Raises ``OSError``.
    """
    known = known or {}

    from concurrent.futures import ThreadPoolExecutor  # who only compares describes nothing

    def describe(file: Path) -> StoredFile:
        relative = "" if file == path else str(file.relative_to(path))
        status = file.stat() if follows_links else file.lstat()
        sha256 = known.get(relative) or content_sha256(file, follows_links=follows_links)
        return StoredFile(relative, status.st_size, status.st_mtime_ns, stat.S_IMODE(status.st_mode), sha256)

    with ThreadPoolExecutor() as pool:  # hashing leaves the interpreter to the others
        files = tuple(pool.map(describe, files_of(path)))
    relative = str(path.relative_to(layout.prefix))
    size_bytes = sum(file.size_bytes for file in files)
    return StoreEntry(kind, name, path.name, relative, files, size_bytes, follows_links)


def pinned_sha256(model: Model) -> dict[str, str]:
    """Return the SHA-256 of the files of a model by their paths in its entry: what came was compared with them."""
    if model.sha256:
        return {"": model.sha256}
    return {file.path: file.sha256 for file in model.files if file.sha256}


def content_sha256(file: Path, *, follows_links: bool, arrived: Callable[[int], None] | None = None) -> str:
    """Return the SHA-256 of a file's content; of a link that counts as itself, of where it leads.

    ``arrived`` is called with every number of bytes that was read.
    """
    if follows_links or not file.is_symlink():
        return sha256_of_file(file, arrived)
    import hashlib

    return hashlib.sha256(os.fsencode(file.readlink())).hexdigest()


def files_of(path: Path) -> list[Path]:
    """Return every file and link of an entry, sorted: of a blob that itself."""
    if not path.is_dir() or path.is_symlink():
        return [path]
    return sorted(
        Path(directory, name)
        for directory, directories, names in os.walk(path)
        for name in (*names, *(each for each in directories if Path(directory, each).is_symlink()))
        if name != _OF_ENVIRONMENTS
    )


def directories_of(path: Path) -> list[Path]:
    """Return every directory of an entry, itself first."""
    return [Path(directory) for directory, _, _ in os.walk(path)]


def why_damaged(layout: Layout, entry: StoreEntry | None) -> str:
    """Return what is missing or differs from the record; empty where everything is as it was."""
    if entry is None:
        return "not installed"
    return next((drift.detail for drift in entry_drift(layout, entry) if drift.repaired), "")


def entry_drift(
    layout: Layout, entry: StoreEntry, *, deep: bool = False, hashes: Mapping[str, str] | None = None
) -> Iterator[Drift]:
    """Yield what differs from the record of one entry: files first, then what is there and in no record.

    A file is read where its time, size or mode has changed; if ``deep``, always. ``hashes`` are the SHA-256 of
    files that were just read, by their absolute paths.
    """
    root, compare = layout.prefix / entry.path, _Comparison(entry.follows_links, deep, _owner(layout), hashes or {})
    recorded = {file.path for file in entry.files}
    is_tree = "" not in recorded and root.is_dir() and not root.is_symlink()
    strangers = [path for path in files_of(root) if str(path.relative_to(root)) not in recorded] if is_tree else []
    led = {path for path in (root, *strangers) if path.is_symlink()}
    for file in entry.files:
        path = root / file.path
        if led and not led.isdisjoint(path.parents):  # what is there is not what lies here
            yield Drift(DriftKind.MISSING, Kind(entry.kind), entry.name, f"{path.name} is led elsewhere", str(path))
            continue
        for kind, detail in compare.differences(path, file):
            said = f"{path.name} {detail}"
            yield Drift(kind, Kind(entry.kind), entry.name, said, str(path), unread=detail == TOUCHED)
    for path in strangers:
        detail = f"{path.relative_to(root)} was added by somebody"
        yield Drift(DriftKind.EXTRA, Kind(entry.kind), entry.name, detail, str(path))
    for place in directories_of(root) if is_tree else ():
        mode = stat.S_IMODE(place.lstat().st_mode)
        if mode & OTHERS_WRITE:
            detail = f"{place.name} may be written to by others (mode {mode:04o})"
            yield Drift(DriftKind.MODE, Kind(entry.kind), entry.name, detail, str(place))


@frozen
class _Comparison:
    """How the files of an entry are compared: ``owner`` is whose they have to be, ``deep`` says to read them all.

    ``hashes`` are those of files that were read already.
    """

    follows_links: bool
    deep: bool
    owner: int | None
    hashes: Mapping[str, str]

    def differences(self, path: Path, file: StoredFile) -> Iterable[tuple[DriftKind, str]]:
        """Return what one file differs in, the worst alone."""
        try:
            own = path.lstat()
            status = path.stat() if self.follows_links and stat.S_ISLNK(own.st_mode) else own
        except OSError:
            return [(DriftKind.MISSING, "is missing")]
        ours = status is own  # and no program of others
        mode, changed = stat.S_IMODE(status.st_mode), DriftKind.CONTENT if ours else DriftKind.PROGRAM
        if status.st_size != file.size_bytes:
            return [(changed, f"has {status.st_size} bytes instead of {file.size_bytes}")]
        if stat.S_IFMT(status.st_mode) not in (stat.S_IFREG, stat.S_IFLNK):  # to read a pipe is to wait for ever
            return [(changed, "is no file any more")]
        touched = status.st_mtime_ns != file.modified_ns
        if not ours and touched:  # put there anew, it is asked anew, whatever its bytes
            return [(changed, "was changed")]
        wrong_mode = ours and file.mode is not None and mode != file.mode
        if (touched or wrong_mode or self.deep) and self._is_changed(path, file, touched=touched):
            return [(changed, TOUCHED if self._is_unread(file) else "was changed")]
        if ours and own.st_uid != self.owner:
            return [(DriftKind.OWNER, f"belongs to user {own.st_uid}")]
        if wrong_mode:
            return [(DriftKind.MODE, f"has mode {mode:04o} instead of {file.mode:04o}")]
        return ()

    def _is_unread(self, file: StoredFile) -> bool:
        return file.size_bytes > REHASH_BYTES and not self.deep

    def _is_changed(self, path: Path, file: StoredFile, *, touched: bool) -> bool:
        """Tell whether it has another content; unless all are read, of a large one its time alone tells."""
        if file.sha256 is None or self._is_unread(file):
            return touched
        try:
            found = self.hashes.get(str(path)) or content_sha256(path, follows_links=self.follows_links)
            return found != file.sha256
        except OSError:  # nobody may read it any more
            return True


def _owner(layout: Layout) -> int | None:
    try:
        return layout.prefix.stat().st_uid
    except OSError:
        return None
