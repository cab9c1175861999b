"""``fabric plan``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from provision.cli.present import plan_result
from provision.cli.session import Result, Session, verb
from provision.cli.wish import Wish, with_wish
from provision.domain.facts import Facts
from provision.errors import InvalidInputError

EXIT_PENDING = 2


@verb("plan")
@with_wish
def command(
    session: Session,
    wish: Wish,
    facts: Annotated[Path | None, typer.Option("--facts", help="Plan for the machine in this `facts --json`.")] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Save the plan for `fabric apply`.")] = None,
    detailed_exitcode: Annotated[
        bool, typer.Option("--detailed-exitcode", help="Exit with 2 when there are changes.")
    ] = False,
) -> Result:
    """Show what `up` would change, and why. Changes nothing.

    [bold]fabric plan --out plan.json && fabric apply plan.json[/bold]
    """
    plan = session.fabric.plan(wish.spec, _read_facts(facts) if facts else None)
    if out:
        from provision.apply.saved_plan import save

        save(plan, out)
    return plan_result(plan, EXIT_PENDING if detailed_exitcode and plan.changed else 0)


def _read_facts(path: Path) -> Facts:
    import msgspec

    try:
        return msgspec.json.decode(path.read_bytes(), type=Facts)
    except OSError as error:
        raise InvalidInputError(f"Cannot read the facts in {path}: {error.strerror}.") from error
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise InvalidInputError(
            f"{path} does not hold facts: {error}.", "Make it with `fabric facts --json > FILE`."
        ) from error
