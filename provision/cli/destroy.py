"""``fabric destroy``."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from provision.cli import output
from provision.cli.session import Result, Session, TakeOver, verb
from provision.cli.taken_back import told
from provision.errors import UsageError

if TYPE_CHECKING:
    from provision.apply.destroy import Removal


@verb("destroy")
def command(
    session: Session,
    keep_models: Annotated[bool, typer.Option("--keep-models", help="Keep the downloaded models.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    take_over: TakeOver = False,
) -> Result:
    """Stop the server and remove everything that fabric made. Files of your own stay.

    [bold]fabric destroy --yes[/bold]           without being asked

    [bold]fabric destroy --keep-models[/bold]   the next `fabric up` finds them
    """
    if not yes:
        _ask(session)
    session.take_over = take_over
    removal = session.changes.destroy(keep_models=keep_models)
    lines = ["Removed:", *(f"  {path}" for path in removal.removed)] if removal.removed else ["Nothing was there."]
    lines += [told(each) for each in removal.taken_back if each.outcome != "removed"]
    lines += _unknown(removal)
    if keep_models and session.layout.models.is_dir():
        lines.append(f"The models stay in {session.layout.models}.")
    document = {
        "removed": list(removal.removed),
        "taken_back": [asdict(each) for each in removal.taken_back],
        "unknown": list(removal.unknown),
        "kept": removal.kept,
        "kept_models": keep_models,
    }
    return Result(document, lambda: output.line("\n".join(lines)))


def _unknown(removal: Removal) -> list[str]:
    if not removal.unknown:
        return []
    said = (
        "The state could not be read, so that nobody knows where files are that `fabric config --write` had written: "
        f"{', '.join(removal.unknown)}. They may still hold fabric's values: take those out by hand."
    )
    return [said, f"What stood in them before is in {removal.kept}."] if removal.kept else [said]


def _ask(session: Session) -> None:
    if not sys.stdin.isatty():
        raise UsageError(f"This would remove {session.layout.prefix}.", "Say --yes to go on without being asked.")
    if not typer.confirm(f"Stop the server and remove {session.layout.prefix}?", err=True):
        raise UsageError("Nothing was removed.")
