"""The difference between what should be and what is. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import replace

import msgspec

from provision.domain.drift import Drift, DriftKind
from provision.domain.engine import EngineRelease, Method
from provision.domain.plan import Action, Change, Kind, Plan
from provision.domain.selection import Selection
from provision.domain.server import ServerState
from provision.plan.observed import Observed
from provision.plan.service_change import service_change
from provision.plan.text_diff import unified_files

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
    changes = tuple(_placed(change, observed) for change in (engine, model, config, *service, server))
    state = observed.state
    lineage, serial = (state.lineage, state.serial) if state else ("", 0)
    plan = Plan(selection, changes, lineage, serial, drift=observed.drift)
    return replace(plan, digest=digest(plan))


def digest(plan: Plan) -> str:
    """Return the SHA-256 of what the plan would do; the machine's free memory and the reasons are not part of it."""
    selection = plan.selection
    decided = (
        plan.lineage,
        plan.serial,
        [(change.action, change.kind, change.name, change.paths, change.diff) for change in plan.changes],
        [(drift.kind, drift.resource, drift.path) for drift in plan.drift],
        (selection.release, selection.provided_libraries, selection.model, selection.spec),
        (selection.context, selection.parallel, selection.threads, selection.spin_count),
        (selection.host, selection.port, selection.devices),
    )
    return hashlib.sha256(msgspec.json.encode(decided, order="sorted")).hexdigest()


def summary(plan: Plan) -> dict[str, int]:
    """Count the changes by action."""
    return {action.value: sum(1 for c in plan.changes if c.action is action) for action in Action}


def _placed(change: Change, observed: Observed) -> Change:
    """Return a change with what it may touch."""
    if change.action is Action.NONE:
        return change
    return replace(change, paths=change.paths or observed.places.get(change.kind, ()))


def _engine(selection: Selection, observed: Observed) -> Change:
    release, drifted = selection.release, observed.drifted(Kind.ENGINE)
    name, lacking = release.engine, observed.lacking.get(Kind.ENGINE, "")
    if not lacking and not drifted:
        reason = _OTHERS if selection.is_remote else f"{release.version} is installed"
        return Change(Action.NONE, Kind.ENGINE, name, reason)
    if not lacking and _is_of_modes(drifted):
        return Change(Action.UPDATE, Kind.ENGINE, name, _reason(drifted), modes_only=True)
    old = observed.state.selection if observed.state else None
    reason = lacking or _reason(drifted)
    action = Action.CREATE if lacking else Action.REPLACE
    if old and old.release.engine == name and old.release.version != release.version:
        action, reason = Action.REPLACE, f"{old.release.version} → {release.version}"
    libraries = [lib.source for lib in release.libraries if lib.name in selection.provided_libraries]
    wheels = [wheel for wheel in (release.wheel, release.sdist, *release.wheels) if wheel]
    download = sum(source.download_bytes for source in libraries) + sum(wheel.size_bytes for wheel in wheels)
    download += sum(file.size_bytes or 0 for file in release.files)
    disk = release.installed_bytes + sum(source.size_bytes for source in libraries)
    unread = not lacking and download > 0 and _is_unread(drifted)
    unknown = tuple(_unknown_of(release, unread=unread))
    return Change(action, Kind.ENGINE, name, reason, download, disk, unknown=unknown, unread=unread)


def _unknown_of(release: EngineRelease, *, unread: bool) -> Iterator[str]:
    if release.method is Method.EXISTING:
        yield "version"
    if any(file.sha256 is None for file in release.files):
        yield "sha256"
    if unread or any(file.size_bytes is None for file in release.files):
        yield "download_bytes"


def _model(selection: Selection, observed: Observed) -> Change:
    model, drifted = selection.model, observed.drifted(Kind.MODEL)
    lacking = observed.lacking.get(Kind.MODEL, "")
    if not lacking and not drifted:
        return Change(Action.NONE, Kind.MODEL, model.name, "it is there")
    if selection.is_remote:
        return Change(Action.CREATE, Kind.MODEL, model.name, lacking)
    if not lacking and _is_of_modes(drifted):
        return Change(Action.UPDATE, Kind.MODEL, model.name, _reason(drifted), modes_only=True)
    download = model.source.download_bytes if model.source else 0 if model.path else model.size_bytes
    action, reason = (Action.CREATE, lacking) if lacking else (Action.REPLACE, _reason(drifted))
    unread = not lacking and download > 0 and _is_unread(drifted)
    unknown = [] if model.verified or model.path else ["sha256"]
    unknown += ["download_bytes"] if unread else []
    return Change(
        action, Kind.MODEL, model.name, reason, download, model.size_bytes, unknown=(*unknown,), unread=unread
    )


def _is_of_modes(drifted: tuple[Drift, ...]) -> bool:
    """Tell whether all is there as it came, and only the permissions differ: those are set again."""
    return all(drift.kind is DriftKind.MODE for drift in drifted)


def _is_unread(drifted: tuple[Drift, ...]) -> bool:
    """Tell whether all of it may turn out to be what it was: then nothing of it is fetched."""
    return all(drift.unread for drift in drifted)


def _reason(drifted: tuple[Drift, ...]) -> str:
    more = f", and {len(drifted) - 1} more" if len(drifted) > 1 else ""
    return f"{drifted[0].detail}{more}"


def _config(selection: Selection, observed: Observed) -> Change:
    name, drifted = selection.backend, observed.drifted(Kind.CONFIG)
    if not observed.state or not observed.state.generation:
        diff = unified_files({}, observed.desired_files)
        return Change(Action.CREATE, Kind.CONFIG, name, "nothing is configured yet", diff=diff)
    diff = unified_files(observed.files, observed.desired_files)
    asked_anew = any(change.kind is DriftKind.PROGRAM for change in observed.drifted(Kind.ENGINE))
    reread = (asked_anew or Kind.ENGINE in observed.lacking) and selection.release.method is Method.EXISTING
    if not diff and not reread and not drifted:
        return Change(Action.NONE, Kind.CONFIG, name, f"generation {observed.state.generation}")
    if not diff and not reread and _is_of_modes(drifted):
        return Change(Action.UPDATE, Kind.CONFIG, name, _reason(drifted), modes_only=True)
    reasons = list(differences(observed.state.selection, selection))
    reasons += [_edited(drifted)] if drifted else []
    if not reasons and diff:
        differing = sorted(n for n, text in observed.desired_files.items() if observed.files.get(n) != text)
        reasons = [f"{', '.join(differing)} differ"]
    if (undone := observed.state.undone_by(selection)) is not None:
        reasons.append(f"which undoes the rollback to generation {undone}")
    return Change(
        Action.UPDATE,
        Kind.CONFIG,
        name,
        ", ".join(reasons) or "the program of others may have other options now",
        diff=diff,
    )


def _edited(drifted: tuple[Drift, ...]) -> str:
    edited = any(drift.kind is DriftKind.CONTENT for drift in drifted)
    return f"{_reason(drifted)}{'; a copy of it is kept' if edited else ''}"


def differences(old: Selection | None, new: Selection) -> Iterator[str]:
    """Yield in words what one selection serves otherwise than another."""
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
    action, reason = _server_action(observed, before)
    memory = 0 if action is Action.NONE else selection.fit.need_bytes
    return Change(action, Kind.SERVER, name, reason, memory_bytes=memory)


def _server_action(observed: Observed, before: tuple[Change, ...]) -> tuple[Action, str]:
    if observed.server in (ServerState.ABSENT, ServerState.STOPPED):
        return Action.CREATE, "it does not run"
    if observed.server not in _UP:
        detail = f": {observed.server_detail}" if observed.server_detail else ""
        return Action.RESTART, f"it is {observed.server.value}{detail}"
    changed = [change for change in before if change.action is not Action.NONE and not change.modes_only]
    if changed:
        return Action.RESTART, f"its {changed[-1].kind.value} changes"
    drifted = observed.drifted(Kind.SERVER)
    if drifted:
        return Action.RESTART, _reason(drifted)
    generation = observed.state.generation if observed.state else None
    if observed.running != generation:
        return Action.RESTART, f"it runs generation {observed.running}, not {generation}"
    return Action.NONE, f"it is {observed.server.value}"
