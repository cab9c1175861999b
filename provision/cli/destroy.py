"""``fabric destroy``."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from provision.cli import output
from provision.cli.session import Result, Session, verb
from provision.errors import UsageError


@verb("destroy")
def command(
    session: Session,
    keep_models: Annotated[bool, typer.Option("--keep-models", help="Keep the downloaded models.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> Result:
    """Stop the server and remove everything that fabric made. Files of your own stay.

    [bold]fabric destroy --yes[/bold]           without being asked

    [bold]fabric destroy --keep-models[/bold]   the next `fabric up` finds them
    """
    if not yes:
        _ask(session)
    removed = session.changes.destroy(keep_models=keep_models)
    text = "Removed:\n  " + "\n  ".join(removed) if removed else "Nothing was there."
    return Result({"removed": removed, "kept_models": keep_models}, lambda: output.line(text))


def _ask(session: Session) -> None:
    if not sys.stdin.isatty():
        raise UsageError(f"This would remove {session.layout.prefix}.", "Say --yes to go on without being asked.")
    if not typer.confirm(f"Stop the server and remove {session.layout.prefix}?", err=True):
        raise UsageError("Nothing was removed.")
