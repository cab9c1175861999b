"""The difference between what should be and what is. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import replace

import msgspec

from provision.domain.engine import Method
from provision.domain.plan import Action, Change, Kind, Plan
from provision.domain.selection import Selection
from provision.domain.server import ServerState
from provision.plan.observed import Observed
from provision.plan.service_change import service_change

_OTHERS = "somebody else runs it"
_UP = (ServerState.STARTING, ServerState.LOADING, ServerState.READY)

# What a person would call the parts of a selection that end up in the configuration.
_NAMED: dict[str, Callable[[Selection], object]] = {
    "model": lambda s: s.model.name,
    "context": lambda s: s.context,
    "parallel": lambda s: s.parallel,
    "threads": lambda s: s.threads,
    "spin count": lambda s: s.spin_count,
    "GPUs": lambda s: " and ".join(s.devices) or "none",
    "kv-cache": lambda s: s.spec.kv_cache,
    "keep-alive": lambda s: "the engine's" if s.spec.keep_alive is None else s.spec.keep_alive,
    "host": lambda s: s.host,
    "port": lambda s: s.port,
    "engine": lambda s: s.engine_name,
    "service": lambda s: s.spec.service,
    "lingering": lambda s: "on" if s.spec.linger else "off",
    "server": lambda s: s.base_url if s.is_remote else "our own",
    "API key": lambda s: s.spec.api_key_env or "none",
}
_EVERYBODYS = ("model", "server", "API key")  # which our own servers and those of others have


def make_plan(selection: Selection, observed: Observed) -> Plan:
    """Return the changes that turn ``observed`` into ``selection``, in the order in which they are made."""
    config = _config(selection, observed)
    engine, model = _engine(selection, observed), _model(selection, observed)
    service = service_change(observed.unit, is_up=observed.server in _UP)
    server = _server(selection, observed, (engine, model, config, *service))
    changes = (engine, model, config, *service, server)
    state = observed.state
    plan = Plan(selection, changes, state.lineage if state else "", state.serial if state else 0)
    return replace(plan, digest=digest(plan))


def digest(plan: Plan) -> str:
    """Return the SHA-256 of what the plan would do; the machine's free memory and the reasons are not part of it."""
    selection = plan.selection
    decided = (
        plan.lineage,
        plan.serial,
        [(change.action, change.kind, change.name) for change in plan.changes],
        (selection.release, selection.provided_libraries, selection.model, selection.spec),
        (selection.context, selection.parallel, selection.threads, selection.spin_count),
        (selection.host, selection.port, selection.devices),
    )
    return hashlib.sha256(msgspec.json.encode(decided, order="sorted")).hexdigest()


def summary(plan: Plan) -> dict[str, int]:
    """Count the changes by action."""
    return {action.value: sum(1 for c in plan.changes if c.action is action) for action in Action}


def _engine(selection: Selection, observed: Observed) -> Change:
    release = selection.release
    name = release.engine
    if not observed.engine_damage:
        reason = _OTHERS if selection.is_remote else f"{release.version} is installed"
        return Change(Action.NONE, Kind.ENGINE, name, reason)
    libraries = [lib.source for lib in release.libraries if lib.name in selection.provided_libraries]
    wheels = [wheel for wheel in (release.wheel, release.sdist, *release.wheels) if wheel]
    download = sum(source.download_bytes for source in libraries) + sum(wheel.size_bytes for wheel in wheels)
    download += sum(file.size_bytes or 0 for file in release.files)
    disk = release.installed_bytes + sum(source.size_bytes for source in libraries)
    old = observed.state.selection if observed.state else None
    if old and old.release.engine == name and old.release.version != release.version:
        reason = f"{old.release.version} → {release.version}"
        return Change(Action.REPLACE, Kind.ENGINE, name, reason, download, disk)
    return Change(_action(observed.engine_damage), Kind.ENGINE, name, observed.engine_damage, download, disk)


def _model(selection: Selection, observed: Observed) -> Change:
    model = selection.model
    if not observed.model_damage:
        return Change(Action.NONE, Kind.MODEL, model.name, "it is there")
    if selection.is_remote:
        return Change(Action.CREATE, Kind.MODEL, model.name, observed.model_damage)
    download = model.source.download_bytes if model.source else 0 if model.path else model.size_bytes
    action = _action(observed.model_damage)
    return Change(action, Kind.MODEL, model.name, observed.model_damage, download, model.size_bytes)


def _action(damage: str) -> Action:
    return Action.CREATE if damage == "not installed" else Action.REPLACE


def _config(selection: Selection, observed: Observed) -> Change:
    name = selection.backend
    if not observed.state or not observed.state.generation:
        return Change(Action.CREATE, Kind.CONFIG, name, "nothing is configured yet")
    differing = sorted(n for n, text in observed.desired_files.items() if observed.files.get(n) != text)
    reread = bool(observed.engine_damage) and selection.release.method is Method.EXISTING
    if not differing and not reread:
        return Change(Action.NONE, Kind.CONFIG, name, f"generation {observed.state.generation}")
    reasons = list(_differences(observed.state.selection, selection)) or [
        f"{', '.join(differing)} differ" if differing else "the program of others may have other options now"
    ]
    return Change(Action.UPDATE, Kind.CONFIG, name, ", ".join(reasons))


def _differences(old: Selection | None, new: Selection) -> Iterator[str]:
    if old is None:
        return
    names = _NAMED if old.is_remote == new.is_remote else _EVERYBODYS
    for name, of in ((name, _NAMED[name]) for name in names):
        if of(old) != of(new):
            yield f"{name} {of(old)} → {of(new)}"


def _server(selection: Selection, observed: Observed, before: tuple[Change, ...]) -> Change:
    name = selection.model.name
    if selection.is_remote:
        if observed.running is None:
            return Change(Action.NONE, Kind.SERVER, name, _OTHERS)
        return Change(Action.DELETE, Kind.SERVER, "ours", f"the one at {selection.base_url} takes its place")
    up = observed.server in _UP
    changed = [change for change in before if change.action is not Action.NONE]
    if not up and observed.server in (ServerState.ABSENT, ServerState.STOPPED):
        return Change(Action.CREATE, Kind.SERVER, name, "it does not run")
    if not up:
        detail = f": {observed.server_detail}" if observed.server_detail else ""
        return Change(Action.RESTART, Kind.SERVER, name, f"it is {observed.server.value}{detail}")
    if changed:
        return Change(Action.RESTART, Kind.SERVER, name, f"its {changed[-1].kind.value} changes")
    if observed.arranged_damage:
        return Change(Action.RESTART, Kind.SERVER, name, observed.arranged_damage)
    generation = observed.state.generation if observed.state else None
    if observed.running != generation:
        return Change(Action.RESTART, Kind.SERVER, name, f"it runs generation {observed.running}, not {generation}")
    return Change(Action.NONE, Kind.SERVER, name, f"it is {observed.server.value}")
