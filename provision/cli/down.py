"""``fabric down``."""

from __future__ import annotations

from provision.cli import output
from provision.cli.session import Result, Session, verb


@verb("down")
def command(session: Session) -> Result:
    """Stop the server; keep what is installed. Fine when it is stopped already."""
    stopped = session.changes.down()
    return Result(
        {"stopped": stopped}, lambda: output.line("Stopped." if stopped else "It was not running; nothing to stop.")
    )
