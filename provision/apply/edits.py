"""What a person has changed or added where fabric writes: kept before it gives way, and permissions set again."""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from provision.apply.records import OTHERS_WRITE
from provision.domain.drift import Drift, DriftKind
from provision.domain.resource import Kind
from provision.domain.state import StoreEntry
from provision.host.files import commit, make_private_dir, unused_name
from provision.host.layout import Layout


def keep_edits(layout: Layout, drift: Iterable[Drift], replaced: Collection[Kind]) -> dict[Path, Path]:
    """Copy what a person has edited or added in resources that are ``replaced``; return where each is kept.

    Of engines and models only what was added counts: their own content comes from elsewhere. A copy that is there
    already, because a run was killed after it, is not made again. What is no file, such as a link or a pipe, is moved.
    Raises ``OSError``.
    """
    kept = {}
    for each in drift:
        if each.path is None or each.resource not in replaced or not _is_a_persons(each):
            continue
        path = Path(each.path)
        name = layout.kept / "-".join(path.relative_to(layout.prefix).parts)
        if os.path.lexists(path):
            kept[path] = _copied(path, name) if path.is_file() and not path.is_symlink() else _moved(path, name)
    return kept


def _copied(path: Path, name: Path) -> Path:
    data, there = path.read_bytes(), name.read_bytes() if name.is_file() else None
    if there == data:
        return name
    target = unused_name(name)
    make_private_dir(target.parent)
    commit(target, data)
    return target


def _moved(path: Path, name: Path) -> Path:
    target = unused_name(name)
    make_private_dir(target.parent)
    path.rename(target)
    return target


def _is_a_persons(drift: Drift) -> bool:
    if drift.resource is Kind.CONFIG:
        return drift.kind in (DriftKind.CONTENT, DriftKind.EXTRA)
    return drift.kind is DriftKind.EXTRA


def set_modes(layout: Layout, entries: Mapping[str, StoreEntry], drift: Iterable[Drift]) -> None:
    """Give files the permissions again that they were recorded with, and directories back to their owner alone.

    Raises ``OSError``.
    """
    recorded = {
        str(layout.prefix / entry.path / file.path): file.mode for entry in entries.values() for file in entry.files
    }
    for each in drift:
        if each.kind is DriftKind.MODE and each.path is not None:
            set_mode(Path(each.path), recorded.get(each.path))


def set_mode(path: Path, recorded: int | None) -> None:
    """Give a file its recorded permissions; of a directory, which has no record, those of others go.

    A link has none of its own. Raises ``OSError``.
    """
    if path.is_symlink():
        return
    if recorded is not None:
        path.chmod(recorded)
    elif path.is_dir():
        path.chmod(stat.S_IMODE(path.stat().st_mode) & ~OTHERS_WRITE)
