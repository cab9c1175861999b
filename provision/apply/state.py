"""Reading and writing the state file, and making the prefix that it speaks for."""

from __future__ import annotations

import uuid
from dataclasses import replace
from pathlib import Path

import msgspec

from provision import __version__
from provision.apply.prefix_check import check_prefix
from provision.apply.whereabouts import at_home, taken_over
from provision.domain.frozen import frozen
from provision.domain.state import STATE_VERSION, State
from provision.errors import InvalidInputError, RefusedError
from provision.host.files import commit, explained, make_private_dir
from provision.host.host_id import host_id
from provision.host.json_document import decoded
from provision.host.layout import Layout
from provision.host.place import place_of
from provision.host.reading import read_private


def read_state(layout: Layout) -> State | None:
    """Return the state; ``None`` where there is none.

    Raises ``InvalidInputError`` for a damaged or newer file: guessing would orphan what it owns.
    """
    data = read_private(layout.state)
    if data is None:
        return None
    try:
        state = decoded(data, State)
    except msgspec.MsgspecError as error:
        raise InvalidInputError(
            f"The state file {layout.state} makes no sense: {error}.",
            f"The one before it is {layout.state}.1; put it back, or start over with `fabric destroy --yes`.",
        ) from error
    if state.version > STATE_VERSION:
        raise InvalidInputError(
            f"The state file {layout.state} was written by a newer fabric ({state.fabric_version}).",
            "Use that version, or a newer one.",
        )
    return state


def restore_state(layout: Layout) -> State | None:
    """Put the state before the one that cannot be read in its place; return what of it counts here, if there is one."""
    data = read_private(_previous(layout))
    try:
        state = None if data is None else decoded(data, State)
    except msgspec.MsgspecError:
        return None
    if state is None or data is None:
        return None
    commit(layout.state, data)
    return taken_over(layout, state)


def _previous(layout: Layout) -> Path:
    return layout.state.with_name("state.json.1")


def write_state(layout: Layout, state: State) -> State:
    """Write the state with the next serial, keep the one before it, and return it."""
    with explained("writing the state"):
        place = place_of(layout.prefix)
        following = replace(state, serial=state.serial + 1, fabric_version=__version__, place=place)
        previous = read_private(layout.state)
        if previous is not None:
            commit(_previous(layout), previous)
        commit(layout.state, msgspec.json.format(msgspec.json.encode(following), indent=1))
    return following


@frozen
class Marker:
    """What makes a directory fabric's: its id, and the parents that were made for it, nearest first."""

    lineage: str
    made_parents: tuple[str, ...] = ()


def read_marker(layout: Layout) -> Marker | None:
    """Return the marker; ``None`` where there is none. Raises ``InvalidInputError`` for a damaged one."""
    data = read_private(layout.marker)
    try:
        return decoded(data, Marker) if data is not None else None
    except msgspec.MsgspecError as error:
        raise InvalidInputError(f"{layout.marker} is damaged: {error}.", "Remove the directory by hand.") from error


def open_prefix(layout: Layout, *, take_over: bool = False) -> State:
    """Make the prefix where it is missing and return its state. The lock is held.

    Raises ``RefusedError`` where the directory is not fabric's or others could write to it, ``InvalidInputError``
    where it was set up on another machine or in another place and this one does not ``take_over``.
    """
    from provision.apply.parents import forget_parents, noted_parents

    check_prefix(layout)
    state = read_state(layout)
    marker = read_marker(layout)
    if state is not None and marker is not None and state.lineage != marker.lineage:
        raise RefusedError(
            f"{layout.prefix} holds the state of another prefix ({state.lineage}, not {marker.lineage}).",
            "It was copied by hand. Use another --home.",
        )
    here = at_home(layout, state, take_over=take_over)
    with explained("making the prefix"):
        if marker is None:
            marker = Marker(state.lineage if state else uuid.uuid4().hex, noted_parents(layout))
            make_private_dir(layout.prefix)
            commit(layout.marker, msgspec.json.encode(marker))
        forget_parents(layout)
    if here is None:
        return State(marker.lineage, host=host_id())
    return here if here == state else write_state(layout, here)
