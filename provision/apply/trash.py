"""Removing what the state names: all of it, or, where that is killed too early, nothing.

What goes is moved aside first, then the state is written that knows no more of it, then it is unlinked. The directory
is named by the serial of that state, so that whoever comes after a kill can tell what to do: where the state was
written, the rest goes; where it was not, all is put back.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from provision.apply.journal import Journal
from provision.apply.state import read_state, write_state
from provision.domain.state import State
from provision.errors import FabricError
from provision.host.files import explained, make_private_dir, remove_tree, sync
from provision.host.layout import Layout

_TRASH = ".trash-"


def discard(layout: Layout, paths: Iterable[Path], state: State, verb: str) -> State:
    """Remove ``paths`` on behalf of ``fabric VERB`` and write ``state``, which names none of them; return it.

    Each path is ``<prefix>/<directory>/<name>``; one that is not there is fine. The lock is held.
    """
    trash = layout.prefix / f"{_TRASH}{state.serial + 1}"
    journal = Journal(layout)
    with journal.run(verb):
        try:
            with journal.step("move aside"), explained("moving aside what is removed"):
                _move(paths, layout.prefix, trash)
            with journal.step("forget"):
                state = write_state(layout, state)
            with journal.step("remove"), explained("removing"):
                remove_tree(trash)
        except BaseException:
            with suppress(OSError, FabricError):  # the error that is on its way matters more
                settle(layout)
            raise
    return state


def settle(layout: Layout) -> None:
    """Finish what was killed after the state was written, and take back what was killed before. The lock is held."""
    for trash in layout.prefix.glob(f"{_TRASH}*"):
        serial = trash.name.removeprefix(_TRASH)
        if not serial.isdecimal():  # somebody else's
            continue
        state = read_state(layout)
        with explained("clearing what an interrupted run left"):
            if state is None or state.serial < int(serial):
                _move(trash.glob("*/*"), trash, layout.prefix)
            remove_tree(trash)


def _move(paths: Iterable[Path], source: Path, target: Path) -> None:
    moved = set[Path]()
    for path in paths:
        if path.is_symlink() or path.exists():
            place = target / path.relative_to(source)
            make_private_dir(place.parent)
            path.rename(place)
            moved |= {path.parent, place.parent}
    for directory in moved:
        sync(directory)
