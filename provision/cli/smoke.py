"""``fabric smoke``."""

from __future__ import annotations

from provision.cli import output
from provision.cli.session import Result, Session, verb


@verb("smoke")
def command(session: Session) -> Result:
    """Prove that the server answers: models, chat, streamed chat, JSON schema. Exit 1 if one does not."""
    from provision.observe.report import smoke_to_json

    report = session.fabric.smoke()

    def show() -> None:
        for check in report.checks:
            mark, style = ("ok  ", output.GOOD) if check.ok else ("FAIL", output.BAD)
            output.line(f"{mark} {check.name}: {check.detail} ({check.duration_ms:.0f} ms)", style)

    return Result(smoke_to_json(report), show, 0 if report.ok else 1)
