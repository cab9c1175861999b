"""``fabric rollback``."""

from __future__ import annotations

from dataclasses import asdict, replace
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from provision.cli import output
from provision.cli.present import plan_result
from provision.cli.session import Result, Session, verb
from provision.cli.up import up_result
from provision.errors import UsageError

if TYPE_CHECKING:
    from provision.generations import KnownGeneration


@verb("rollback")
def command(
    session: Session,
    number: Annotated[
        int | None,
        typer.Argument(metavar="[N]", show_default=False, help="The generation; the last other one that has served."),
    ] = None,
    *,
    list_: Annotated[bool, typer.Option("--list", help="Show what can be brought back, and what changed.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be done.")] = False,
    offline: Annotated[bool, typer.Option("--offline", help="Fetch nothing.")] = False,
    no_smoke: Annotated[bool, typer.Option("--no-smoke", help="Skip the smoke test.")] = False,
    timeout: Annotated[
        float | None, typer.Option("--timeout", metavar="SECONDS", help="Give up when it is not ready by then.")
    ] = None,
) -> Result:
    """Serve again as an earlier generation did. That makes a new generation: history only grows.

    [bold]fabric rollback --list[/bold]      the generations, and what each changed

    [bold]fabric rollback[/bold]             the last other one that has served

    [bold]fabric rollback 3 --dry-run[/bold]
    """
    if list_:
        if number is not None or dry_run:
            raise UsageError("--list shows all generations.", "Leave the number and --dry-run away.")
        return _list(session)
    if dry_run:
        return _dry_run(session, number, offline=offline)
    from provision.bring_up import UpOptions

    options = UpOptions(smoke=not no_smoke, offline=offline, timeout_s=timeout)
    done = session.changes.rollback(number, options)
    state = session.fabric.state()
    result = up_result(done)

    def show() -> None:
        result.show()
        wish = " ".join(["fabric up", *done.selection.spec.options()])
        output.line(f"A later `fabric up` serves what it is asked for; this generation was asked for as `{wish}`.")

    more = {"generation": state.generation, "restores": state.current.restores}
    return replace(result, document={**result.document, **more}, show=show)


def _dry_run(session: Session, number: int | None, *, offline: bool) -> Result:
    from provision.apply.generations import chosen_generation
    from provision.generations import check_set_up, plan_rollback

    check_set_up(session.fabric)
    state = session.fabric.state()
    target = chosen_generation(state, number)
    result = plan_result(plan_rollback(session.fabric, state, target, offline=offline))
    return replace(result, document={**result.document, "restores": target.number})


def _list(session: Session) -> Result:
    from provision.generations import known_generations

    known = known_generations(session.fabric)
    document = {"generations": [_document(each) for each in known]}
    if not known:
        return Result(document, lambda: output.line("Nothing is set up here yet."))
    rows = [
        (_number(each), _when(each), each.generation.verb or "", _served(each), _changes(each))
        for each in reversed(known)
    ]
    return Result(document, lambda: output.table(("generation", "made", "by", "served", "what changed"), rows))


def _document(each: KnownGeneration) -> dict[str, Any]:
    made, selection = each.generation, each.generation.selection
    return {
        "generation": made.number,
        "current": each.is_current,
        "made_at": made.made_at,
        "verb": made.verb,
        "restores": made.restores,
        "was_ready": made.was_ready,
        "log": made.log,
        "backend": selection.backend,
        "engine_version": selection.release.version or None,
        "acceleration": selection.acceleration,
        "model": selection.model.name,
        "context": selection.context,
        "base_url": selection.base_url,
        "changes": list(each.changes),
        "collected": list(each.collected),
        "spec": asdict(selection.spec),
    }


def _number(each: KnownGeneration) -> str:
    return f"{each.generation.number}{' (current)' if each.is_current else ''}"


def _when(each: KnownGeneration) -> str:
    made_at = each.generation.made_at
    return "" if made_at is None else datetime.fromtimestamp(made_at).astimezone().strftime("%Y-%m-%d %H:%M")


def _served(each: KnownGeneration) -> str:
    return "yes" if each.generation.was_ready else f"no: {each.generation.log}" if each.generation.log else "no"


def _changes(each: KnownGeneration) -> str:
    """Say what changed; of the first that is known, and of one that only repeats, what it is."""
    selection, restores = each.generation.selection, each.generation.restores
    what = f"{selection.engine_name} serves {selection.model.name}"
    said = [f"back to {restores}"] if restores is not None else []
    said += each.changes or [what]
    said += ["has to be fetched again"] if each.collected else []
    return "; ".join(said)
