"""Taking everything away again: what fabric made, and nothing else."""

from __future__ import annotations

from dataclasses import replace

from provision.apply.config_copies import BEFORE, known_files, parts_of, unnamed_copies
from provision.apply.config_files import TakenBack, take_each_back
from provision.apply.parents import noted_parents, remove_frame
from provision.apply.prefix_check import check_prefix
from provision.apply.records import record
from provision.apply.state import read_marker, restore_state, write_state
from provision.apply.store import unrecorded
from provision.domain.frozen import frozen
from provision.domain.resource import Kind
from provision.domain.state import State, StoreEntry
from provision.errors import RefusedError
from provision.host.files import explained, make_private_dir, remove_tree, unused_name
from provision.host.host_id import host_id
from provision.host.layout import Layout
from provision.host.reading import sha256_of_file

_SHOWN = 12  # characters of a hash, where nobody knows a name


@frozen
class Removal:
    """What went, by its path, and what became of the user's files that were written on request.

    ``unknown`` are names of files of the user's of which nobody knows any more where they are: they may still hold
    fabric's values. What stood in them before lies in the directory ``kept``, if there was anything.
    """

    removed: tuple[str, ...] = ()
    taken_back: tuple[TakenBack, ...] = ()
    unknown: tuple[str, ...] = ()
    kept: str | None = None


def remove_prefix(layout: Layout, state: State | None, *, keep_models: bool) -> Removal:
    """Remove the prefix, the parents made for it, and what was written into files elsewhere on request.

    The server is stopped and the lock is held; where ``state`` is ``None``, it cannot be read, and the one before it
    counts. With ``keep_models`` the models stay, and the state that describes them. The marker goes last, so that an
    interrupted removal can be taken up again. Raises ``RefusedError`` for a directory that is not fabric's.
    """
    check_prefix(layout)
    marker = read_marker(layout)
    if marker is None and state is not None:
        raise RefusedError(f"{layout.prefix} has no marker of fabric's; nothing was removed.", "Look inside it first.")
    with explained("removing what fabric made"):
        removal = Removal()
        if state is None:
            state = restore_state(layout)
            removal = _keep_copies(layout, state)
        taken = list[TakenBack]()
        if state is not None:
            taken, state = take_each_back(layout, state, known_files(state), for_good=True)
        removed = tuple(each.path for each in taken if each.outcome == "removed")
        kept = {layout.marker, layout.lock, layout.lock_holder}
        if keep_models and marker is not None:
            _describe_models_only(layout, state, marker.lineage)
            kept |= {layout.models, layout.state}
        gone = list[str]()
        for entry in layout.prefix.iterdir() if layout.prefix.is_dir() else ():
            if entry not in kept:
                remove_tree(entry)
                gone.append(str(entry))
        if keep_models and marker is not None:
            return replace(removal, removed=(*removed, *sorted(gone)), taken_back=tuple(taken))
        remove_frame(layout, marker.made_parents if marker else noted_parents(layout))
    return replace(removal, removed=(*removed, str(layout.prefix)), taken_back=tuple(taken))


def _describe_models_only(layout: Layout, state: State | None, lineage: str) -> None:
    """Write the state of a prefix that has nothing but models, first of all: what goes after it is nobody's then.

    Whoever says that they stay does not want `fabric gc` to take them.
    """
    state = state or State(lineage, entries=_named_by_content(layout), host=host_id())
    models = {key: entry for key, entry in state.entries.items() if entry.kind == "model"}
    models = {key: replace(entry, pulled=entry.pulled or bool(entry.known_as)) for key, entry in models.items()}
    known = State(state.lineage, state.serial, entries=models, unfit=state.unfit, tried=dict(state.unfit))
    write_state(layout, replace(known, host=state.host))


def _named_by_content(layout: Layout) -> dict[str, StoreEntry]:
    """Return the models of which no record is left: the name of one file is the hash of what is in it."""
    found = {}
    for kind, path in unrecorded(layout, ()):
        if kind is Kind.MODEL and path.is_file() and not path.is_symlink():
            sha256 = sha256_of_file(path)
            if path.stem == sha256:
                entry = record(layout, kind.value, sha256[:_SHOWN], path, known={"": sha256})
                found[entry.key] = replace(entry, pulled=True)
    return found


def _keep_copies(layout: Layout, state: State | None) -> Removal:
    """Move what stood in files that no record names beside the prefix: nobody knows where it belongs."""
    copies = unnamed_copies(layout, state)
    before = [copy for copy in copies if parts_of(copy)[0] == BEFORE]
    kept = unused_name(layout.prefix.with_name(f"{layout.prefix.name}.config-files"))
    for copy in before:
        make_private_dir(kept)
        copy.rename(kept / copy.name)
    names = sorted({parts_of(copy)[1] for copy in copies})
    return Removal(unknown=tuple(names), kept=str(kept) if before else None)
