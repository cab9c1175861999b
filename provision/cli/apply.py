"""``fabric apply``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from provision.cli.session import Result, Session, verb
from provision.cli.up import NoRollback, up_result


@verb("apply")
def command(
    session: Session,
    plan: Annotated[Path, typer.Argument(help="A file made by `fabric plan --out`.")],
    no_smoke: Annotated[bool, typer.Option("--no-smoke", help="Skip the smoke test.")] = False,
    no_rollback: NoRollback = False,
) -> Result:
    """Carry out exactly a saved plan, or refuse if the world has moved since.

    [bold]fabric plan --out plan.json && fabric apply plan.json[/bold]
    """
    from provision.apply.saved_plan import load
    from provision.bring_up import UpOptions

    saved = load(plan)
    options = UpOptions(smoke=not no_smoke, timeout_s=saved.timeout_s, rollback=not no_rollback)
    return up_result(session.changes.apply(saved.plan, options))
