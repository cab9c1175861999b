"""What differs from what was set up, without asking what should be set up: cheap enough for ``status``."""

from __future__ import annotations

from provision.apply.records import why_damaged
from provision.apply.service_file import why_changed
from provision.apply.store import paths_of
from provision.domain.plan import Action, Change, Kind
from provision.domain.server import Observation, ServerState
from provision.domain.state import State
from provision.engines.registry import ENGINES
from provision.host.layout import Layout

_BROKEN = (ServerState.FAILED, ServerState.CRASH_LOOP, ServerState.DEGRADED)


def drift(layout: Layout, state: State, seen: Observation) -> tuple[Change, ...]:
    """Return what ``up`` would repair: damaged files, and a server that is broken or of another generation."""
    found = []
    for key in state.in_use:
        entry = state.entries.get(key)
        damage = why_damaged(layout, entry)
        if damage:
            kind = Kind(entry.kind) if entry else Kind.CONFIG
            found.append(Change(Action.REPLACE, kind, entry.name if entry else key, damage))
    if state.unit and (reason := why_changed(state.unit, is_up=seen.pid is not None)):
        found.append(Change(Action.UPDATE, Kind.SERVICE, state.unit.name, reason))
    name = state.selection.model.name if state.selection else "server"
    running = seen.runtime.generation if seen.runtime and seen.pid else state.generation
    if state.is_remote:
        return tuple(found)  # nothing of it is ours to repair
    if seen.state in _BROKEN:
        found.append(Change(Action.RESTART, Kind.SERVER, name, seen.detail or f"it is {seen.state.value}"))
    elif running != state.generation:
        reason = f"it runs generation {running}, not {state.generation}"
        found.append(Change(Action.RESTART, Kind.SERVER, name, reason))
    elif seen.pid and not found and (reason := _arranged_damage(layout, state)):
        found.append(Change(Action.RESTART, Kind.SERVER, name, reason))
    return tuple(found)


def _arranged_damage(layout: Layout, state: State) -> str:
    """Return what is wrong with the engine's own directory, in which it finds the model."""
    selection = state.selection
    if selection is None:
        return ""
    engine = ENGINES[selection.backend]
    place = paths_of(layout, engine, selection, state.generation).placement(selection)
    return engine.why_not_arranged(selection, place)
