"""``fabric doctor``."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from provision.cli import output
from provision.cli.facts_view import show_facts
from provision.cli.present import (
    choice_document,
    show_alternatives,
    show_choice,
    show_recommendation,
    weighed_document,
)
from provision.cli.session import Result, Session, verb
from provision.cli.wish import read_wish
from provision.domain.facts import Facts
from provision.domain.finding import Finding, Severity
from provision.domain.frozen import frozen
from provision.domain.plan import Plan
from provision.domain.security_check import Outcome, SecurityCheck
from provision.domain.spec import Spec
from provision.errors import FabricError, UsageError

if TYPE_CHECKING:
    from provision.domain.state import State
    from provision.select.choose import Choice

_STYLES = {Severity.ERROR: output.BAD, Severity.WARNING: output.WARN, Severity.INFO: output.DIM}
_WORST_FIRST = [*_STYLES]


@frozen
class Diagnosis:
    """What is to be told of a machine: a plan for it, or why there is none."""

    facts: Facts
    findings: Sequence[Finding]
    plan: Plan | None
    refusal: FabricError | None
    security: Sequence[SecurityCheck] = ()

    @property
    def weighed(self) -> Plan | Choice | None:
        """Everything that was weighed, whether or not there is a plan."""
        return self.plan or getattr(self.refusal, "choice", None)

    @property
    def exit_code(self) -> int:
        """The status of the contract: a machine that nothing suits is a failure."""
        return self.refusal.exit_code if self.refusal else 0

    def document(self) -> dict[str, Any]:
        """Return the keys of the contract."""
        import msgspec

        return {
            "facts": msgspec.to_builtins(self.facts),
            "findings": msgspec.to_builtins(self.findings),
            "security": msgspec.to_builtins(self.security),
            "recommendation": choice_document(self.plan) if self.plan else self._refused(),
            "refusal": self.refusal.document() if self.refusal else None,
        }

    def _refused(self) -> dict[str, Any] | None:
        """What would suit the machine, although this version cannot install it."""
        weighed = self.weighed
        return weighed_document(weighed.recommended, weighed.alternatives) if weighed else None

    def show(self) -> None:
        """Print everything for people."""
        show_facts(self.facts)
        output.line()
        show_findings(self.findings)
        output.line()
        if self.security:
            show_security(self.security)
            output.line()
        if self.plan:
            show_choice(self.plan)
        elif self.refusal:
            output.line(f"{self.refusal.message} {self.refusal.hint or ''}", output.BAD)
            if self.weighed and self.weighed.recommended:
                output.line()
                show_recommendation(self.weighed.recommended)
        if self.weighed:
            output.line()
            output.line("Weighed", output.BOLD)
            show_alternatives(self.weighed.alternatives, self.weighed.recommended)


@verb("doctor")
def command(
    session: Session,
    replay: Annotated[
        Path | None,
        typer.Option("--replay", metavar="DIR", help="Explain that machine: a capture, bundle or facts file."),
    ] = None,
    bundle: Annotated[
        Path | None, typer.Option("--bundle", metavar="FILE", help="Write a .tar.gz for a bug report, redacted.")
    ] = None,
) -> Result:
    """Explain this machine: facts, findings with their fixes, the recommendation, why, and why not the others.

    [bold]fabric doctor --bundle report.tar.gz[/bold]   for a bug report

    [bold]fabric doctor --replay report.tar.gz[/bold]   for whoever gets one
    """
    if replay and bundle:
        raise UsageError("--bundle is of this machine, --replay is of another one.", "Leave one of them away.")
    if bundle:
        return _bundle(session, bundle)
    fabric = session.fabric
    facts = fabric.facts(replay)
    diagnosis = _diagnose_elsewhere(fabric, facts) if replay else _diagnose(fabric, facts)
    return Result(diagnosis.document(), diagnosis.show, diagnosis.exit_code)


def _diagnose(fabric: Any, facts: Facts) -> Diagnosis:
    from provision.facts.findings.engines import find_unfit
    from provision.security.checks import security_checks

    try:
        state = fabric.state()
    except (FabricError, OSError) as error:
        return Diagnosis(
            facts, _sorted(facts.findings), None, _explained(error), (*security_checks(fabric.layout, None),)
        )
    security = tuple(security_checks(fabric.layout, state.selection if state else None))
    unfit = find_unfit(facts, state.unfit if state else {})
    findings = _sorted((*facts.findings, *unfit, *_advisories(fabric, facts, state)))
    try:
        return Diagnosis(facts, findings, fabric.plan(_spec(), facts, looks_up=False), None, security)
    except FabricError as error:
        return Diagnosis(facts, findings, None, error, security)


def _advisories(fabric: Any, facts: Facts, state: State | None) -> tuple[Finding, ...]:
    from provision.found_engines import advisory_findings, engines_here

    return advisory_findings(facts, engines_here(facts, state, fabric.env), fabric.wall_clock())


def _diagnose_elsewhere(fabric: Any, facts: Facts) -> Diagnosis:
    from provision.found_engines import advisory_findings, listening_engines

    findings = _sorted((*facts.findings, *advisory_findings(facts, listening_engines(facts), fabric.wall_clock())))
    try:
        return Diagnosis(facts, findings, fabric.plan_on(_spec(), facts), None)
    except FabricError as error:
        return Diagnosis(facts, findings, None, error)


def _spec() -> Spec:
    """Return what is wished for in this directory, as ``plan`` and ``up`` would read it."""
    return read_wish({}).spec


def _explained(error: FabricError | OSError) -> FabricError:
    from provision.host.files import explain

    return error if isinstance(error, FabricError) else explain(error, "reading the state")


def _sorted(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """Return the worst first; those that weigh the same stay in their order."""
    return tuple(sorted(findings, key=lambda finding: _WORST_FIRST.index(finding.severity)))


def _bundle(session: Session, path: Path) -> Result:
    from provision import captures
    from provision.host import bundle

    bundle.check_place(path)
    taken = session.fabric.take()
    diagnosis = _diagnose(session.fabric, taken.facts)
    document = diagnosis.document()
    files = captures.bundle_files(taken, session.layout, {"facts": document["facts"], "doctor": document})
    size_bytes = bundle.write(files, path)
    written = {"path": str(path.absolute()), "size_bytes": size_bytes, "files": sorted(files)}

    def show() -> None:
        diagnosis.show()
        output.line()
        _show_bundle(written)

    return Result({**document, "bundle": written}, show, diagnosis.exit_code)


def _show_bundle(written: Mapping[str, Any]) -> None:
    path, files = shlex.quote(written["path"]), written["files"]
    output.line(f"Written to {path} ({written['size_bytes'] / 1e3:.0f} kB).", output.GOOD)
    read = sum(name.startswith("capture/") for name in files)
    rest = ", ".join(name for name in files if not name.startswith("capture/"))
    output.line(f"It holds what detection read ({read} files), and {rest}.")
    output.line("Names, addresses, logins and serial numbers are taken out. Look at it before you send it:")
    output.line(f"    tar -tzf {path}")
    output.line(f"    tar -xzOf {path} | less")


def show_findings(findings: Sequence[Finding]) -> None:
    """Print the worst first, each with its evidence, and with its fix on a line of its own, ready to be pasted."""
    if not findings:
        output.line("No findings.", output.GOOD)
        return
    counts = Counter(finding.severity for finding in findings)
    output.line(
        f"Findings: {', '.join(_count(counts[level], level) for level in _WORST_FIRST if counts[level])}", "bold"
    )
    for finding in _sorted(findings):
        output.line()
        output.line(output.printable(f"{finding.severity.value} {finding.code}"), _STYLES[finding.severity])
        output.line(f"  {output.printable(finding.evidence)}")
        if finding.fix:
            output.line("  To fix it:", output.DIM)
        for text in finding.fix.splitlines():
            output.line(f"    {output.printable(text)}")


def show_security(checks: Sequence[SecurityCheck]) -> None:
    """Print how many promises hold here, and those that do not or that warn, each with what to do."""
    styles = {Outcome.FAILED: output.BAD, Outcome.WARNING: output.WARN}
    told_of = [check for outcome in styles for check in checks if check.outcome is outcome]
    counts = Counter(check.outcome for check in checks)
    told = ", ".join(f"{counts[outcome]} {outcome.value}" for outcome in Outcome if counts[outcome])
    output.line(f"Security: {told}", output.BAD if counts[Outcome.FAILED] else output.BOLD)
    for check in told_of:
        output.line(output.printable(f"  {check.code}: {check.evidence}"), styles[check.outcome])
        output.line(output.printable(f"    {check.fix}"))


def _count(number: int, severity: Severity) -> str:
    plural = "" if number == 1 or severity is Severity.INFO else "s"
    return f"{number} {severity.value}{plural}"
