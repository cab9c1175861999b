"""``fabric doctor``."""

from __future__ import annotations

from provision.cli import output
from provision.cli.facts import show_facts
from provision.cli.present import choice_document, show_choice
from provision.cli.session import Result, Session, verb
from provision.domain.finding import Severity
from provision.domain.spec import Spec
from provision.errors import FabricError

_STYLES = {Severity.ERROR: output.BAD, Severity.WARNING: "yellow", Severity.INFO: output.DIM}


@verb("doctor")
def command(session: Session) -> Result:
    """Explain this machine: facts, findings with their fixes, the recommendation, why, and why not the others."""
    import msgspec

    fabric = session.fabric
    facts = fabric.facts()
    state = fabric.state()
    findings = (*facts.findings, *(state.findings if state else ()))
    plan, refusal = None, None
    try:
        plan = fabric.plan(Spec())
    except FabricError as error:
        refusal = error
    document = {
        "facts": msgspec.to_builtins(facts),
        "findings": msgspec.to_builtins(findings),
        "recommendation": choice_document(plan) if plan else None,
        "refusal": {"code": refusal.code, "message": refusal.message, "hint": refusal.hint} if refusal else None,
    }

    def show() -> None:
        show_facts(facts)
        output.line()
        for finding in findings:
            output.line(f"{finding.severity.value:<8} {finding.code}: {finding.evidence}", _STYLES[finding.severity])
            output.line(f"         fix: {finding.fix}")
        if not findings:
            output.line("No findings.", output.GOOD)
        output.line()
        if plan:
            show_choice(plan)
        elif refusal:
            output.line(f"{refusal.message} {refusal.hint or ''}", output.BAD)

    return Result(document, show, 1 if refusal else 0)
