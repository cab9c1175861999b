"""Taking everything away again: what fabric made, and nothing else."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from provision.apply.state import check_prefix, read_marker, write_state
from provision.domain.state import State
from provision.errors import RefusedError
from provision.host.files import explained, remove_tree
from provision.host.layout import Layout


def remove_prefix(layout: Layout, state: State | None, *, keep_models: bool) -> list[str]:
    """Remove the prefix, the parents made for it, and the files written elsewhere on request; return what went.

    The server is stopped and the lock is held. With ``keep_models`` the models stay, and the state that
    describes them. The marker goes last, so that an interrupted removal can be taken up again. Raises
    ``RefusedError`` for a directory that is not fabric's.
    """
    check_prefix(layout)
    marker = read_marker(layout)
    if marker is None and state is not None:
        raise RefusedError(f"{layout.prefix} has no marker of fabric's; nothing was removed.", "Look inside it first.")
    with explained("removing what fabric made"):
        removed = _remove_written(state.written_files if state else ())
        kept = {layout.marker, layout.lock, layout.lock_holder, *((layout.models,) if keep_models else ())}
        for entry in layout.prefix.iterdir() if layout.prefix.is_dir() else ():
            if entry not in kept:
                remove_tree(entry)
        if keep_models and state is not None:
            models = {key: entry for key, entry in state.entries.items() if entry.kind == "model"}
            write_state(
                layout, State(state.lineage, state.serial, entries=models, unfit=state.unfit, tried=dict(state.unfit))
            )
            return removed
        _remove_frame(layout, marker.made_parents if marker else ())
    return [*removed, str(layout.prefix)]


def _remove_written(names: tuple[str, ...]) -> list[str]:
    """Remove the files that were written outside the prefix on request; return those that were there."""
    there = [name for name in names if Path(name).is_file()]
    for name in there:
        Path(name).unlink()
    return there


def _remove_frame(layout: Layout, made_parents: tuple[str, ...]) -> None:
    """Remove the marker and the lock, and then every directory that is empty by now."""
    for last in (layout.marker, layout.lock_holder, layout.lock):
        remove_tree(last)
    for directory in (str(layout.prefix), *made_parents):
        with suppress(OSError):  # not empty: somebody uses it, or a command that waits for the lock
            Path(directory).rmdir()
