"""``fabric smoke``."""

from __future__ import annotations

from provision.cli.present import show_smoke
from provision.cli.session import Result, Session, verb


@verb("smoke")
def command(session: Session) -> Result:
    """Prove that the server answers: models, chat, streamed chat, JSON schema. Exit 1 if one does not.

    [bold]fabric smoke --json[/bold]   each check with its detail and duration
    """
    from provision.observe.report import smoke_to_json

    report = session.fabric.smoke()
    return Result(smoke_to_json(report), lambda: show_smoke(report), 0 if report.ok else 1)
