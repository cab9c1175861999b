"""``fabric status``."""

from __future__ import annotations

from provision.apply.whereabouts import why_elsewhere
from provision.cli import output
from provision.cli.differences import drift_document, show_drift
from provision.cli.session import Result, Session, verb
from provision.domain.spec import BUILTIN
from provision.domain.state import State
from provision.host import process


@verb("status")
def command(session: Session) -> Result:
    """Show the state of the server, its endpoint, and what differs from what was set up.

    [bold]fabric status --json[/bold]   for a program
    """
    fabric = session.fabric
    state = fabric.state()
    seen, drift = fabric.drift()
    detail = seen.detail or why_elsewhere(session.layout, state) or None
    selection = state.selection if state else None
    age_s = process.age_s(seen.runtime.server) if seen.runtime and seen.runtime.server else None
    document = {
        "state": seen.state.value,
        "detail": detail,
        "pid": seen.pid,
        "base_url": selection.base_url if selection else None,
        "model": selection.model.name if selection else None,
        "backend": selection.backend if selection else None,
        "engine": selection.program if selection else None,
        "engine_version": selection.release.version or None if selection else None,
        "uptime_s": None if age_s is None else round(age_s, 1),
        "service": _keeper(state) if state else None,
        "restarts": seen.runtime.restarts if seen.runtime else 0,
        "generation": state.generation if state else None,
        "prefix": str(session.layout.prefix),
        "drift": drift_document(drift),
    }

    def show() -> None:
        style = output.GOOD if document["state"] == "ready" else output.BAD
        output.line(f"{document['state']}{': ' + detail if detail else ''}", style)
        remote = selection is not None and selection.is_remote
        about = ("engine", "engine_version") if remote else ("pid", "uptime_s", "service")
        shown = ("base_url", "model", "backend", *about, "prefix")
        output.pairs([(name, document[name]) for name in shown])
        show_drift(drift)

    return Result(document, show)


def _keeper(state: State) -> str | None:
    """Return who keeps the server running; ``None`` where there is none of ours."""
    if state.ours is None:
        return None
    return state.unit.service if state.unit else BUILTIN
