"""``fabric logs``."""

from __future__ import annotations

import sys
import time
from typing import Annotated

import typer

from provision.cli import output
from provision.cli.session import Result, Session, verb
from provision.domain.visible import visible

POLL_S = 0.2


@verb("logs")
def command(
    session: Session,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on showing what is added.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", help="How many lines from the end.")] = 50,
) -> Result:
    """Show the server's log.

    [bold]fabric logs -f -n 5[/bold]   the last lines, and what is added
    """
    others = session.fabric.left_to_others()
    if others:
        told = f"Somebody else runs the server at {others}: its log is there."
        return Result({"path": None, "lines": []}, lambda: output.line(told))
    server = session.fabric.server()
    path = session.layout.server_log
    shown = server.log.last_lines(lines)
    if follow:
        _follow(session, shown)
    return Result({"path": str(path), "lines": shown}, lambda: output.line("\n".join(shown) or f"{path} is empty."))


def _follow(session: Session, shown: list[str]) -> None:
    """Print until Ctrl-C; a rotated file is opened anew."""
    path = session.layout.server_log
    sys.stdout.write(visible("".join(f"{text}\n" for text in shown)))
    log = session.fabric.server().log
    position = log.size()
    while True:
        size = log.size()
        position = 0 if size < position else position
        if size > position:
            with path.open("rb") as file:
                file.seek(position)
                data = file.read()
            position += len(data)
            sys.stdout.write(visible(data.decode("utf-8", "replace")))
            sys.stdout.flush()
        time.sleep(POLL_S)
