"""``fabric facts``."""

from __future__ import annotations

import shlex
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from provision.cli import output
from provision.cli.session import Result, Session, verb
from provision.domain.facts import Facts
from provision.errors import UsageError


@verb("facts")
def command(
    session: Session,
    capture: Annotated[
        Path | None,
        typer.Option("--capture", metavar="DIR", help="Keep what was read, redacted, in a new directory."),
    ] = None,
    replay: Annotated[
        Path | None, typer.Option("--replay", metavar="DIR", help="Show that machine: a capture, bundle or facts file.")
    ] = None,
) -> Result:
    """Show what was found out about this machine. Unknown is null, never a guess.

    [bold]fabric facts --capture DIR[/bold]   take this machine along

    [bold]fabric facts --replay DIR[/bold]    look at one that was taken along
    """
    if capture and replay:
        raise UsageError("--capture is of this machine, --replay is of another one.", "Leave one of them away.")
    if capture:
        return _capture(session, capture)
    facts = session.fabric.facts(replay)
    return Result(asdict(facts), lambda: _show(facts))


def _show(facts: Facts) -> None:
    from provision.cli.facts_view import show_facts

    show_facts(facts)


def _capture(session: Session, directory: Path) -> Result:
    from provision.host import capture_files

    capture_files.check_place(directory)
    taken = session.fabric.take()
    capture_files.write(taken.files, directory)
    place = shlex.quote(str(directory.absolute()))

    def show() -> None:
        _show(taken.facts)
        output.line()
        output.line(f"Captured into {place}: {len(taken.files)} files.", output.GOOD)
        output.line("Names, addresses and serial numbers are taken out. Look at it before you give it away.")

    written = {"path": str(directory.absolute()), "files": sorted(taken.files)}
    return Result({**asdict(taken.facts), "capture": written}, show)
