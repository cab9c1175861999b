"""What was only touched, as by a copy from a backup: it is whole, and need not come again."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from provision.apply.edits import set_mode
from provision.apply.records import entry_drift, why_damaged
from provision.domain.drift import DriftKind
from provision.domain.resource import Kind
from provision.domain.state import StoreEntry
from provision.host.files import explained
from provision.host.layout import Layout


def recognized(
    layout: Layout, entries: Mapping[str, StoreEntry], keys: Iterable[str], say: Callable[[str], None]
) -> set[Kind]:
    """Read what has another time of the entries with these keys; where its bytes are right, set time and mode again.

    Return the kinds of which nothing has to be made anew for that reason. ``say`` is told what is read.
    """
    whole, damaged = set[Kind](), set[Kind]()
    for entry in (entries[key] for key in keys if key in entries):
        with explained("reading what was touched"):
            if _is_put_right(layout, entry, say):
                whole.add(Kind(entry.kind))
        if why_damaged(layout, entry):
            damaged.add(Kind(entry.kind))
    return whole - damaged


def _is_put_right(layout: Layout, entry: StoreEntry, say: Callable[[str], None]) -> bool:
    touched = [Path(drift.path or "") for drift in entry_drift(layout, entry) if drift.kind is DriftKind.CONTENT]
    if not touched:
        return False
    say(f"Reading what was touched of {entry.name}, to see whether it is what it was")
    is_right = _is_as_recorded(layout, entry, touched)
    for path in touched if is_right else ():
        put_back(path, layout.prefix, entry)
    return is_right


def _is_as_recorded(layout: Layout, entry: StoreEntry, paths: Iterable[Path]) -> bool:
    """Tell whether the bytes of these files are right, the smallest read first."""
    root = layout.prefix / entry.path
    files = sorted((each for each in entry.files if root / each.path in paths), key=lambda file: file.size_bytes)
    found = entry_drift(layout, replace(entry, files=tuple(files)), deep=True)
    return all(drift.kind in (DriftKind.MODE, DriftKind.EXTRA) for drift in found)


def put_back(path: Path, prefix: Path, entry: StoreEntry) -> None:
    """Give a file the mode and the time that are recorded; its bytes are right. Raises ``OSError``.

    A directory has no record, and gets none of the times.
    """
    relative = path.relative_to(prefix / entry.path).as_posix()
    file = next((each for each in entry.files if (each.path or ".") == relative), None)
    set_mode(path, file.mode if file else None)
    if file:
        os.utime(path, ns=(file.modified_ns, file.modified_ns), follow_symlinks=False)
