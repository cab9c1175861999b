"""``fabric down``."""

from __future__ import annotations

from provision.cli import output
from provision.cli.session import Result, Session, verb


@verb("down")
def command(session: Session) -> Result:
    """Stop the server; keep what is installed. Fine when it is stopped already.

    [bold]fabric down && fabric up[/bold]   start it anew
    """
    stopped = session.changes.down()
    left = session.fabric.left_to_others()
    told = "Stopped." if stopped else "It was not running; nothing to stop."
    if left:
        told = f"The server at {left} is not stopped: somebody else runs it."
    return Result({"stopped": stopped, "left_running": left}, lambda: output.line(told))
