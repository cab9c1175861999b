"""``fabric apply``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from provision.cli.session import Result, Session, verb
from provision.cli.up import up_result


@verb("apply")
def command(
    session: Session,
    plan: Annotated[Path, typer.Argument(help="A file made by `fabric plan --out`.")],
    no_smoke: Annotated[bool, typer.Option("--no-smoke", help="Skip the smoke test.")] = False,
) -> Result:
    """Carry out exactly a saved plan, or refuse if the world has moved since."""
    from provision.apply.saved_plan import load
    from provision.changes import UpOptions

    saved = load(plan)
    return up_result(session.changes.apply(saved.plan, UpOptions(smoke=not no_smoke, timeout_s=saved.timeout_s)))
