"""``fabric verify``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from provision.cli import output
from provision.cli.session import Result, Session, verb

if TYPE_CHECKING:
    from provision.apply.verify import Problem
    from provision.verifying import Checked


@verb("verify")
def command(
    session: Session,
    repair: Annotated[
        bool, typer.Option("--repair", help="Set aside what is wrong, and fetch it again by its hash.")
    ] = False,
) -> Result:
    """Read the whole store and compare every byte with what was installed. Exit 1 where something is wrong.

    [bold]fabric verify --repair[/bold]   fetches what is damaged; restarts the server where it runs from that
    """
    from provision.verifying import Verification

    verification = Verification(session.fabric, session.progress.reading)
    checked = verification.repair() if repair else verification.check()
    found = checked.found
    document = {
        "ok": not checked.left,
        "files": found.files,
        "size_bytes": found.size_bytes,
        "problems": [_document(problem) for problem in found.problems],
        "unhashed": list(found.unhashed),
        "repaired": [problem.drift.path for problem in checked.repaired],
        "left": [problem.drift.path for problem in checked.left],
        "quarantine": str(checked.quarantine) if checked.quarantine else None,
        "kept": str(checked.kept) if checked.kept else None,
        "restarted": checked.restarted,
    }
    return Result(document, lambda: _show(checked, repair=repair), int(bool(checked.left)))


def _document(problem: Problem) -> dict[str, Any]:
    drift = problem.drift
    return {
        "kind": problem.kind,
        "resource": f"{drift.resource.value}/{drift.name}",
        "path": drift.path,
        "detail": drift.detail,
        "expected_sha256": problem.expected_sha256,
        "sha256": problem.sha256,
    }


def _show(checked: Checked, *, repair: bool) -> None:
    found = checked.found
    for problem in found.problems:
        style = output.BAD if problem in checked.left else output.GOOD
        drift = problem.drift
        output.line(
            f"{problem.kind}: {drift.resource.value}/{drift.name}: {drift.detail}",
            style,
        )
        output.line(f"  {drift.path}{'' if problem in checked.left else ': put right'}", output.DIM)
        if problem.sha256 and problem.sha256 != problem.expected_sha256:
            output.line(f"  expected {problem.expected_sha256}, found {problem.sha256}", output.DIM)
    for name in found.unhashed:
        output.line(f"{name} was recorded by an older version without hashes: only its sizes and times were compared.")
    if checked.quarantine:
        output.line(f"What was wrong is in {checked.quarantine}; `fabric gc` removes it.")
    if checked.kept:
        output.line(f"What somebody had added is in {checked.kept}.")
    if checked.left:
        more = "That stays as it is." if repair else "`fabric verify --repair` puts it right."
        output.line(f"Not everything is what was installed: {len(checked.left)} found. {more}", output.BAD)
    else:
        output.line(f"{found.files} files, {output.size(found.size_bytes)}: as installed.", output.GOOD)
