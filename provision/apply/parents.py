"""The directories above a prefix that were made for it: known before the first is made, until the last is gone.

The marker tells them while the prefix lives. Before it is written and after it went, a note does: an empty file in the
nearest directory that was there before, which says that what leads from there to the prefix, and the prefix, is
fabric's. So a command that is killed in between loses nothing: the next one finds the note.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from itertools import takewhile
from pathlib import Path

from provision.host.files import PRIVATE_FILE, explained, make_private_dir
from provision.host.layout import Layout

_IN_USE = (errno.ENOTEMPTY, errno.EEXIST, errno.EBUSY, errno.ENOENT)  # or gone: somebody else was faster


def make_prefix(layout: Layout) -> None:
    """Make the prefix where it is missing, and the directories above it, with a note before the first of them."""
    if layout.prefix.exists():
        return
    with explained("making the prefix"):
        if _noted_in(layout) is None:
            _note_in(layout, next(parent for parent in layout.prefix.parents if parent.exists()))
        make_private_dir(layout.prefix)


def noted_parents(layout: Layout) -> tuple[str, ...]:
    """Return the directories that a note says were made, nearest first; nothing where there is no note."""
    place = _noted_in(layout)
    return () if place is None else tuple(map(str, takewhile(lambda parent: parent != place, layout.prefix.parents)))


def forget_parents(layout: Layout) -> None:
    """Take the note away: the marker tells it now, or there is nothing to be told any more. Raises ``OSError``."""
    while (place := _noted_in(layout)) is not None:
        (place / layout.parents_note).unlink(missing_ok=True)


def remove_frame(layout: Layout, made_parents: tuple[str, ...]) -> None:
    """Remove marker and lock, the last that there is in a prefix, and then it and the directories made for it.

    A prefix that was moved has others above it than were made.
    """
    above = [parent for parent in layout.prefix.parents if str(parent) in made_parents]
    with suppress(OSError):  # who may not write there may not remove the prefix either
        _note_in(layout, [layout.prefix, *above][-1].parent)
    for last in (layout.marker, layout.lock_holder, layout.lock):
        last.unlink(missing_ok=True)
    remove_noted(layout)


def remove_noted(layout: Layout) -> None:
    """Remove what a note says is fabric's, if there is one, and the note: who was killed has left that.

    What is in use stays, and the note too where it is a command that waits for the lock. Raises ``FabricError``.
    """
    if _noted_in(layout) is None:
        return
    with explained("removing what fabric made"):
        for directory in (str(layout.prefix), *noted_parents(layout)):
            try:
                Path(directory).rmdir()
            except OSError as error:
                if error.errno not in _IN_USE:
                    raise
        if not (layout.prefix.is_dir() and any(layout.prefix.iterdir())):
            forget_parents(layout)


def _note_in(layout: Layout, place: Path) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    os.close(os.open(place / layout.parents_note, flags, PRIVATE_FILE))


def _noted_in(layout: Layout) -> Path | None:
    """Return the directory that has the note. One that another user has put there does not count."""
    name = layout.parents_note
    return next((place for place in layout.prefix.parents if _is_our_file(place / name)), None)


def _is_our_file(path: Path) -> bool:
    with suppress(OSError):
        status = path.lstat()
        return stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid()
    return False
