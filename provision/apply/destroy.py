"""Taking everything away again: what fabric made, and nothing else."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
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
    removed = []
    with explained("removing what fabric made"):
        for name in state.written_files if state else ():
            if Path(name).is_file():
                Path(name).unlink()
                removed.append(name)
        kept = {layout.marker, layout.lock, layout.lock_holder, *((layout.models,) if keep_models else ())}
        for entry in layout.prefix.iterdir() if layout.prefix.is_dir() else ():
            if entry not in kept:
                remove_tree(entry)
        if keep_models and state is not None:
            models = {key: entry for key, entry in state.entries.items() if entry.kind == "model"}
            write_state(layout, replace(state, generation=0, selection=None, entries=models, written_files=()))
            return removed
        remove_tree(layout.marker)
        remove_tree(layout.prefix)
        removed.append(str(layout.prefix))
        for parent in marker.made_parents if marker else ():
            with suppress(OSError):  # not empty: others use it by now
                Path(parent).rmdir()
    return removed
