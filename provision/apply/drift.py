"""What differs from what was set up: in the store, in the current generation, and about the server."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from provision.apply.records import entry_drift
from provision.domain.drift import Drift, DriftKind
from provision.domain.resource import Kind
from provision.domain.server import Observation, ServerState
from provision.domain.state import State, StoreEntry
from provision.host.layout import Layout
from provision.host.listening_sockets import ListeningSocket
from provision.plan.text_diff import unified

_BROKEN = (ServerState.FAILED, ServerState.CRASH_LOOP, ServerState.DEGRADED)


def stored_drift(layout: Layout, state: State, keys: Iterable[str]) -> Iterator[Drift]:
    """Yield what differs in the engines and models with these keys; one that nobody knows yields nothing."""
    for key in keys:
        entry = state.entries.get(key)
        if entry is not None and entry.kind != Kind.CONFIG.value:
            yield from entry_drift(layout, entry)


def config_drift(layout: Layout, state: State, rendered: Callable[[], Mapping[str, str]]) -> Iterator[Drift]:
    """Yield what differs in the current generation, all of which is read; an edit with its diff.

    ``rendered`` returns what its files said by name; it is asked only where one was edited.
    """
    entry = state.entries.get(str(state.generation))
    if entry is None or entry.kind != Kind.CONFIG.value:
        return
    yield from current_drift(layout, state)
    for drift in entry_drift(layout, entry, deep=True):
        edited = drift.kind is DriftKind.CONTENT and drift.path is not None
        yield replace(drift, diff=_edit(entry, Path(drift.path or ""), rendered())) if edited else drift


def current_drift(layout: Layout, state: State) -> Iterator[Drift]:
    """Yield a difference where ``current``, which the server is started from, does not lead to what is configured."""
    wanted = layout.generation(state.generation).relative_to(layout.prefix)
    if not state.generation or state.selection is None:
        return
    found = layout.current.readlink() if layout.current.is_symlink() else None
    if found != wanted:
        kind = DriftKind.MISSING if found is None else DriftKind.GENERATION
        detail = f"{layout.current.name} is missing" if found is None else f"current leads to {found}, not {wanted}"
        yield Drift(kind, Kind.CONFIG, state.selection.backend, detail, str(layout.current))


def _edit(entry: StoreEntry, path: Path, rendered: Mapping[str, str]) -> str:
    """Return the diff of an edit; empty where there is no file any more.

    It is empty as well where this version would render something else than what was edited.
    """
    recorded = next((file.sha256 for file in entry.files if file.path == path.name), None)
    text = rendered.get(path.name, "")
    if hashlib.sha256(text.encode()).hexdigest() != recorded or path.is_symlink() or not path.is_file():
        return ""
    try:
        return unified(text, path.read_text(encoding="utf-8", errors="replace"), path.name)
    except OSError:  # it may not be read
        return ""


def server_drift(
    state: State, seen: Observation, arranged_damage: str, exposed: Iterable[ListeningSocket]
) -> Iterator[Drift]:
    """Yield what is wrong with our own server; one that was stopped on purpose is as it should be.

    ``exposed`` are the sockets on which it listens and that nobody declared.
    """
    name = state.selection.model.name if state.selection else "server"
    running = seen.runtime.generation if seen.runtime and seen.pid else state.generation
    if seen.state in _BROKEN:
        yield Drift(DriftKind.PROCESS, Kind.SERVER, name, seen.detail or f"it is {seen.state.value}")
    elif running != state.generation:
        detail = f"it runs generation {running}, not {state.generation}"
        yield Drift(DriftKind.GENERATION, Kind.SERVER, name, detail)
    elif seen.pid and arranged_damage:
        yield Drift(DriftKind.CONTENT, Kind.SERVER, name, arranged_damage)
    for each in exposed:
        detail = f"it also listens at {each.place} ({each.program}, process {each.pid})"
        yield Drift(DriftKind.ADDRESS, Kind.SERVER, name, detail)
