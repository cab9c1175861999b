"""Taking everything away again: what fabric made, and nothing else."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from provision.apply.client_copies import known_files
from provision.apply.client_files import TakenBack, take_each_back
from provision.apply.state import check_prefix, read_marker, write_state
from provision.domain.state import State
from provision.errors import RefusedError
from provision.host.files import explained, remove_tree, unused_name
from provision.host.layout import Layout


@dataclass(frozen=True)
class Removal:
    """What went, and what became of the user's files that were written on request."""

    removed: tuple[str, ...] = ()
    taken_back: tuple[TakenBack, ...] = ()


def remove_prefix(layout: Layout, state: State | None, *, keep_models: bool) -> Removal:
    """Remove the prefix, the parents made for it, and what was written into files elsewhere on request.

    The server is stopped and the lock is held. With ``keep_models`` the models stay, and the state that
    describes them. The marker goes last, so that an interrupted removal can be taken up again. Raises
    ``RefusedError`` for a directory that is not fabric's.
    """
    check_prefix(layout)
    marker = read_marker(layout)
    if marker is None and state is not None:
        raise RefusedError(f"{layout.prefix} has no marker of fabric's; nothing was removed.", "Look inside it first.")
    with explained("removing what fabric made"):
        if state is None:
            _keep_copies(layout)
            taken = list[TakenBack]()
        else:
            taken, state = take_each_back(layout, state, known_files(state))
        removed = tuple(each.path for each in taken if each.outcome == "removed")
        kept = {layout.marker, layout.lock, layout.lock_holder, *((layout.models,) if keep_models else ())}
        for entry in layout.prefix.iterdir() if layout.prefix.is_dir() else ():
            if entry not in kept:
                remove_tree(entry)
        if keep_models and state is not None:
            models = {key: entry for key, entry in state.entries.items() if entry.kind == "model"}
            write_state(
                layout, State(state.lineage, state.serial, entries=models, unfit=state.unfit, tried=dict(state.unfit))
            )
            return Removal(removed, tuple(taken))
        _remove_frame(layout, marker.made_parents if marker else ())
    return Removal((*removed, str(layout.prefix)), tuple(taken))


def _keep_copies(layout: Layout) -> None:
    """Move what stood in the user's files beside the prefix: without the state nobody knows where it belongs."""
    if layout.client_files.is_dir() and any(layout.client_files.iterdir()):
        layout.client_files.rename(unused_name(layout.prefix.with_name(f"{layout.prefix.name}.client-files")))


def _remove_frame(layout: Layout, made_parents: tuple[str, ...]) -> None:
    """Remove the marker and the lock, and then every directory that is empty by now."""
    for last in (layout.marker, layout.lock_holder, layout.lock):
        remove_tree(last)
    for directory in (str(layout.prefix), *made_parents):
        with suppress(OSError):  # not empty: somebody uses it, or a command that waits for the lock
            Path(directory).rmdir()
