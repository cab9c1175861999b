"""What is kept of each file of the user's that was written: the record of it, and copies of two texts.

The copies lie inside the prefix, for the user alone: what stood in the file before, and what was added to it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from provision.apply.state import write_state
from provision.domain.frozen import frozen
from provision.domain.state import ConfigFile, State
from provision.errors import InvalidInputError
from provision.host.files import commit, explained, make_private_dir
from provision.host.layout import Layout
from provision.host.reading import read_private

NAME_CHARS = 50  # of a name go into another: with up to four bytes each that one is not too long either
OURS, BEFORE = "ours", "before"
WHOLE = "whole"  # how older versions wrote: the file is ours as it is


@frozen
class Rendered:
    """What is to be written: the name of the format, how it is merged, the text, and which keys are not replaced."""

    format: str
    syntax: str
    text: str
    keep: tuple[str, ...] = ()


def known_files(state: State) -> tuple[ConfigFile, ...]:
    """Return the records of all files, those of older versions too, which wrote them as a whole."""
    whole = tuple(ConfigFile(name, "env", WHOLE, "", None, ()) for name in state.written_files)
    return state.config_files + whole


def record_of(path: Path, rendered: Rendered, before: bytes | None, known: tuple[bytes, bytes | None]) -> ConfigFile:
    """Return the record of a file that is about to be written; ``known`` is what will stand in it, and what does."""
    text = rendered.text.encode()
    missing = tuple(str(parent) for parent in path.parents if not parent.exists())
    return ConfigFile(
        path=str(path),
        format=rendered.format,
        syntax=rendered.syntax,
        ours=_copy_name(path, OURS, text),
        before=None if before is None else _copy_name(path, BEFORE, before),
        known=tuple(sha256(data) for data in known if data is not None),
        made_parents=missing,
    )


def remember(layout: Layout, state: State, record: ConfigFile, copies: Mapping[str | None, bytes | None]) -> State:
    """Keep the copies and the record, in this order, before the file itself is touched; return the written state."""
    with explained("keeping what stands in the file"):
        make_private_dir(layout.config_files)
        for name, data in copies.items():
            if name is not None and data is not None:
                commit(layout.config_files / name, data)
    others = _leaving_out(state, record.path)
    state = write_state(layout, replace(others, config_files=(*others.config_files, record)))
    sweep(layout, state)
    return state


def _leaving_out(state: State, path: str) -> State:
    return replace(
        state,
        config_files=tuple(each for each in state.config_files if each.path != path),
        written_files=tuple(name for name in state.written_files if name != path),
    )


def sweep(layout: Layout, state: State) -> None:
    """Remove each copy that no record names any more, also those that a killed run left."""
    for copy in unnamed_copies(layout, state):
        copy.unlink(missing_ok=True)
    with suppress(OSError):  # not empty
        layout.config_files.rmdir()


def unnamed_copies(layout: Layout, state: State | None) -> list[Path]:
    """Return the copies that no record names."""
    named = {name for each in (state.config_files if state else ()) for name in (each.ours, each.before)}
    there = layout.config_files.iterdir() if layout.config_files.is_dir() else ()
    return [copy for copy in there if copy.name not in named]


def copy_of(layout: Layout, name: str | None) -> bytes | None:
    """Return a copy by its name. Raises ``InvalidInputError`` where it was taken away."""
    if name is None:
        return None
    data = read_private(layout.config_files / name)
    if data is None:
        raise InvalidInputError(f"{layout.config_files / name} is gone.", "Take the values out of the file by hand.")
    return data


def _copy_name(path: Path, role: str, data: bytes) -> str:
    return f"{sha256(str(path).encode())[:8]}-{role}-{sha256(data)[:8]}-{path.name[:NAME_CHARS]}"


def parts_of(copy: Path) -> tuple[str, str]:
    """Return the role of a copy, such as ``BEFORE``, and the name of the file that it is of."""
    parts = copy.name.split("-", 3)
    return (parts[1], parts[3]) if len(parts) == len(("file", "role", "content", "name")) else ("", copy.name)


def forget(layout: Layout, state: State, record: ConfigFile) -> State:
    """Return the written state without ``record``, whose copies are removed."""
    state = write_state(layout, _leaving_out(state, record.path))
    sweep(layout, state)
    return state


def sha256(data: bytes) -> str:
    """Return the hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()
