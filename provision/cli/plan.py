"""``fabric plan``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from provision.cli.present import plan_result
from provision.cli.session import Result, Session, verb
from provision.cli.wish import Wish, with_wish
from provision.errors import UsageError


@verb("plan")
@with_wish
def command(
    session: Session,
    wish: Wish,
    *,
    facts: Annotated[
        list[Path] | None,
        typer.Option(
            "--facts", metavar="PATH", help="A `facts --json` file, capture or bundle, or a directory of them."
        ),
    ] = None,
    replay: Annotated[
        list[Path] | None, typer.Option("--replay", metavar="DIR", help="The same, for one capture or bundle.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="Save it for `fabric apply`.")] = None,
    json_lines: Annotated[
        bool, typer.Option("--json-lines", help="With several machines: one JSON document a line.")
    ] = False,
    detailed_exitcode: Annotated[
        bool, typer.Option("--detailed-exitcode", help="Exit with 2 when there are changes.")
    ] = False,
) -> Result:
    """Show what `up` would change, and why. Changes nothing.

    [bold]fabric plan --out plan.json && fabric apply plan.json[/bold]

    [bold]fabric plan --facts laptop.json --facts server.json[/bold]   one table over several machines

    [bold]fabric plan --facts fleet/ --json-lines[/bold]               a line of JSON for each
    """
    session.spec_dir = wish.directory
    elsewhere = list(dict.fromkeys((*(facts or ()), *(replay or ()))))
    if json_lines and session.as_json:
        raise UsageError("--json is one document, --json-lines one for each machine.", "Leave one of them away.")
    if elsewhere and wish.locked:
        raise UsageError("--locked is for this machine.", "Leave it away, or leave --facts and --replay away.")
    if elsewhere and out:
        raise UsageError("A plan for another machine cannot be applied here.", "Leave --out away.")
    if elsewhere:
        from provision.facts.stored import is_several

        if json_lines or is_several(elsewhere):
            return _matrix(session, wish, elsewhere, json_lines=json_lines, detailed=detailed_exitcode)
        return plan_result(session.fabric.plan_for(wish.spec, elsewhere[0]), detailed=detailed_exitcode)
    if json_lines:
        raise UsageError("--json-lines is for several machines.", "Name them with --facts, or use --json.")
    plan = session.fabric.plan(wish.spec, offline=wish.offline, refresh=wish.refresh, pins=session.pins(wish))
    if out:
        from provision.apply.saved_plan import save

        save(plan, out, wish.timeout_s, wish.decided_by)
    return plan_result(plan, detailed=detailed_exitcode)


def _matrix(session: Session, wish: Wish, paths: list[Path], *, json_lines: bool, detailed: bool) -> Result:
    from provision.cli.matrix import matrix_result

    return matrix_result(session.fabric.matrix(wish.spec, paths), json_lines=json_lines, detailed=detailed)
