"""Reading and writing the state file, and making and checking the prefix that it speaks for."""

from __future__ import annotations

import os
import stat
import uuid
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from provision import __version__
from provision.domain.state import STATE_VERSION, State
from provision.errors import InvalidInputError, RefusedError
from provision.host.files import commit, explained, make_private_dir, read_bytes
from provision.host.host_id import host_id
from provision.host.layout import MARKER, Layout


def read_state(layout: Layout) -> State | None:
    """Return the state; ``None`` where there is none.

    Raises ``InvalidInputError`` for a damaged or newer file: guessing would orphan what it owns.
    """
    data = read_bytes(layout.state)
    if data is None:
        return None
    try:
        state = msgspec.json.decode(data, type=State)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
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
    """Put the state before the one that cannot be read in its place, and return it; ``None`` where there is none."""
    data = read_bytes(_previous(layout))
    try:
        state = None if data is None else msgspec.json.decode(data, type=State)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
    if data is not None:
        commit(layout.state, data)
    return state


def _previous(layout: Layout) -> Path:
    return layout.state.with_name("state.json.1")


def write_state(layout: Layout, state: State) -> State:
    """Write the state with the next serial, keep the one before it, and return it."""
    following = replace(state, serial=state.serial + 1, fabric_version=__version__)
    with explained("writing the state"):
        previous = read_bytes(layout.state)
        if previous is not None:
            commit(_previous(layout), previous)
        commit(layout.state, msgspec.json.format(msgspec.json.encode(following), indent=1))
    return following


@dataclass(frozen=True)
class Marker:
    """What makes a directory fabric's: its id, and the parents that were made for it, nearest first."""

    lineage: str
    made_parents: tuple[str, ...] = ()


def read_marker(layout: Layout) -> Marker | None:
    """Return the marker; ``None`` where there is none. Raises ``InvalidInputError`` for a damaged one."""
    data = read_bytes(layout.marker)
    try:
        return msgspec.json.decode(data, type=Marker) if data is not None else None
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise InvalidInputError(f"{layout.marker} is damaged: {error}.", "Remove the directory by hand.") from error


def check_host(state: State | None) -> None:
    """Raise ``InvalidInputError`` for the state of another machine: what it says of processes and programs is not here.

    A machine without an id of its own, such as many containers, is taken for the right one.
    """
    here = host_id()
    if state is not None and None not in (state.host, here) and state.host != here:
        raise InvalidInputError(
            "This prefix was set up on another machine: its disk was copied, or several machines share it.",
            "Use another --home on each. Where the other is gone: `fabric up --take-over`, or `destroy --take-over`.",
        )


def open_prefix(layout: Layout, made_parents: tuple[str, ...], *, take_over: bool = False) -> State:
    """Make the prefix where it is missing and return its state. The lock is held.

    Raises ``RefusedError`` where the directory is not fabric's or others could write to it, ``InvalidInputError``
    where it was set up on another machine and this one does not ``take_over``.
    """
    check_prefix(layout)
    state = read_state(layout)
    if not take_over:
        check_host(state)
    marker = read_marker(layout)
    if marker is None:
        marker = Marker(state.lineage if state else uuid.uuid4().hex, made_parents)
        with explained("making the prefix"):
            make_private_dir(layout.prefix)
            commit(layout.marker, msgspec.json.encode(marker))
    if state is not None and state.lineage != marker.lineage:
        raise RefusedError(
            f"{layout.prefix} holds the state of another prefix ({state.lineage}, not {marker.lineage}).",
            "It was copied by hand. Use another --home.",
        )
    if state is None:
        return State(marker.lineage, host=host_id())
    here = host_id() or state.host
    return state if here == state.host else write_state(layout, replace(state, host=here))


def check_prefix(layout: Layout) -> None:
    """Refuse a prefix that belongs to somebody else, that others may write to, or that holds foreign files."""
    prefix = layout.prefix
    if not prefix.exists():
        return
    status = prefix.stat()
    if not stat.S_ISDIR(status.st_mode):
        raise RefusedError(f"{prefix} is not a directory.", "Use another --home.")
    if status.st_uid != os.geteuid():
        raise RefusedError(f"{prefix} belongs to user {status.st_uid}.", "Use a directory of your own: --home DIR.")
    if status.st_mode & stat.S_IWOTH:
        raise RefusedError(f"Everybody may write to {prefix}.", f"chmod o-w {prefix}, or use another --home.")
    foreign = {entry.name for entry in prefix.iterdir() if not entry.name.startswith(_OWN_NAMES)}
    if not layout.marker.exists() and foreign:
        raise RefusedError(
            f"{prefix} is not empty and was not made by fabric (it holds {min(foreign)}).",
            "Use an empty or a new directory: --home DIR.",
        )


# What a run that was killed at once may leave: the lock, and the marker on its way.
_OWN_NAMES = ("lock", f".{MARKER}.tmp-")
