"""Whether a state speaks of this machine and of this place, and what of it counts for who takes it over."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from provision.domain.place import Place
from provision.domain.resource import Kind
from provision.domain.state import State, StoreEntry
from provision.errors import InvalidInputError
from provision.host.host_id import host_id
from provision.host.layout import Layout
from provision.host.place import is_at, is_of


def check_whereabouts(layout: Layout, state: State | None) -> None:
    """Raise ``InvalidInputError`` for the state of another machine or place: its processes and programs are not here.

    A machine without an id of its own, such as many containers, is taken for the right one.
    """
    why = why_elsewhere(layout, state)
    if why:
        raise InvalidInputError(
            f"{why}.",
            "Use another --home for a new one. To go on with it here: `fabric up --take-over`, or "
            "`destroy --take-over`; the server and the service of an original are left alone.",
        )


def at_home(layout: Layout, state: State | None, *, take_over: bool) -> State | None:
    """Return what counts here of a state, if there is one.

    Raises ``InvalidInputError`` for that of another machine or place, unless this one is to ``take_over``.
    """
    if not take_over:
        check_whereabouts(layout, state)
    return taken_over(layout, state) if state is not None else None


def why_elsewhere(layout: Layout, state: State | None) -> str:
    """Return where a prefix was set up, if not here; else nothing."""
    here = host_id()
    if state is None:
        return ""
    if None not in (state.host, here) and state.host != here:
        return "This prefix was set up on another machine: its disk was copied, or several machines share it"
    if state.place is None or is_at(state.place, layout.prefix):
        return ""
    how = "moved" if is_of(state.place, layout.prefix) else "copied"
    return f"This prefix was set up as {state.place.path} and {how} here"


def taken_over(layout: Layout, state: State) -> State:
    """Return what counts of a state in this place and on this machine.

    What a copy tells of things outside of the prefix is the original's. An engine that names the place where it was
    set up is not there: it would use what lies in the original.
    """
    state = replace(state, host=host_id() or state.host)
    place = state.place
    if place is None or is_at(place, layout.prefix):
        return state
    entries = {key: entry for key, entry in state.entries.items() if not _names(layout, entry, place)}
    state = replace(state, entries=entries, place=None)
    if is_of(place, layout.prefix):
        return state
    return replace(state, unit=None, config_files=(), written_files=())


def _names(layout: Layout, entry: StoreEntry, place: Place) -> bool:
    """Tell whether an engine holds the path of an engine or an interpreter in ``place``."""
    if entry.kind != Kind.ENGINE.value:
        return False
    pattern, root = re.compile(re.escape(os.fsencode(place.path)) + rb"/(engines|python)/"), layout.prefix / entry.path
    return any(_holds(root / file.path, pattern) for file in entry.files)


def _holds(path: Path, pattern: re.Pattern[bytes]) -> bool:
    import mmap

    with suppress(OSError, ValueError):  # what is gone is told as drift, and an empty file holds nothing
        if path.is_symlink():
            return pattern.match(os.fsencode(path.readlink())) is not None
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return pattern.search(data) is not None
    return False
