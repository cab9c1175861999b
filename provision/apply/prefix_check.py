"""Whether a directory can be fabric's: what speaks against it, and the refusal before anything is written."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import suppress

from provision.domain.frozen import frozen
from provision.errors import RefusedError
from provision.host.exposure import exposures
from provision.host.layout import MARKER, Layout

PARENTS, PREFIX, MARKED, INSIDE = "prefix-parents", "prefix-owner", "prefix-marker", "prefix-links"

# What a run that was killed at once may leave: the lock with its holder, and the marker on its way.
_LEFT_BY_A_KILLED_RUN = ("lock", "lock.holder")
_MARKER_ON_ITS_WAY = f".{MARKER}.tmp-"


@frozen
class Objection:
    """What speaks against a prefix: the ``code`` of the check that failed, why, and what to do."""

    code: str
    why: str
    fix: str


def check_prefix(layout: Layout) -> None:
    """Refuse a prefix that somebody else could write to or replace, or that is not fabric's.

    Raises ``RefusedError`` with the first objection; nothing is written.
    """
    for objection in objections(layout):
        raise RefusedError(f"{objection.why}.", objection.fix)


def objections(layout: Layout) -> Iterator[Objection]:
    """Yield everything that speaks against the prefix."""
    prefix = layout.prefix
    named = layout.named or prefix
    for found in exposures(named):
        code = PREFIX if found.path in (prefix, named) else PARENTS
        yield Objection(code, found.why, found.fix)
    if not os.path.lexists(prefix):
        return
    if not prefix.is_dir():
        yield Objection(MARKED, f"{prefix} is not a directory", "Use another --home.")
        return
    try:
        entries = sorted(os.scandir(prefix), key=lambda entry: entry.name)
    except OSError as error:
        yield Objection(PREFIX, f"{prefix} cannot be read: {error.strerror}", "Use another --home.")
        return
    yield from _unmarked(layout, entries)
    yield from _led_elsewhere(layout, entries)


def _unmarked(layout: Layout, entries: list[os.DirEntry[str]]) -> Iterator[Objection]:
    marker = next((entry for entry in entries if entry.name == MARKER), None)
    if marker is not None and not marker.is_file(follow_symlinks=False):
        yield Objection(MARKED, f"{layout.marker} is not a file of fabric's", "Look at what it is; use another --home.")
    foreign = [entry.name for entry in entries if not _is_left_by_a_killed_run(entry.name)]
    if marker is None and foreign:
        yield Objection(
            MARKED,
            f"{layout.prefix} is not empty and was not made by fabric (it holds {foreign[0]})",
            "Use an empty or a new directory: --home DIR.",
        )


def _led_elsewhere(layout: Layout, entries: list[os.DirEntry[str]]) -> Iterator[Objection]:
    """What fabric makes in the prefix are files and directories; only ``current`` is a link, into the prefix.

    What lies in the store is never a link as a whole; the links inside of it are on record, one by one.
    """
    on_its_way = f".{layout.current.name}.tmp-"  # which a killed run has left, and the next one clears
    for entry in entries:
        mode = entry.stat(follow_symlinks=False).st_mode
        if stat.S_ISLNK(mode) and entry.name != layout.current.name and not entry.name.startswith(on_its_way):
            yield _link(entry.path)
        elif entry.name == layout.current.name and not stat.S_ISLNK(mode):
            yield Objection(
                INSIDE, f"{entry.path} is not the link that fabric made", "Move it away; `fabric up` makes it anew."
            )
    for directory in (layout.engines, layout.models, layout.generations):
        with suppress(OSError):  # not there, or not to be read
            if not directory.is_symlink():
                yield from (_link(entry.path) for entry in os.scandir(directory) if entry.is_symlink())


def _link(path: str) -> Objection:
    return Objection(
        INSIDE,
        f"{path} is a link, and fabric would write, and remove, what lies elsewhere",
        "Remove the link; to have everything on another disk, use --home DIR there.",
    )


def _is_left_by_a_killed_run(name: str) -> bool:
    return name in _LEFT_BY_A_KILLED_RUN or name.startswith(_MARKER_ON_ITS_WAY)
