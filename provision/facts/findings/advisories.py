"""Security advisories that the engines of a machine are subject to, and whether what is known of them is old."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import date

from provision.domain.facts import Facts
from provision.domain.finding import Finding, Severity
from provision.domain.found_engine import FoundEngine
from provision.facts.findings.fixes import fix_for
from provision.facts.findings.wording import plain
from provision.knowledge.advisories import Advisory, advisories_of, load_advisories

MAX_EVIDENCE_CHARACTERS = 4000


def find_advisories(facts: Facts, engines: Iterable[FoundEngine]) -> Iterator[Finding]:
    """Yield a finding for each engine that is subject to any: a warning where one counts as the engine is.

    What counts only with something else in use is told of the programs of others; fabric sets none of that up.
    """
    for found in dict.fromkeys(engines):
        known = advisories_of(found.engine, found.version)
        reached = [each for each in known if each.needs is None]
        told = reached if found.ours else known
        if told:
            severity = Severity.WARNING if reached else Severity.INFO
            listed = "; ".join(_said(each) for each in told)
            evidence = plain(f"{found.engine} {found.version} {found.where}: {listed}", MAX_EVIDENCE_CHARACTERS)
            fix = fix_for(facts, "ENGINE-ADVISORY", tags=("ours",) if found.ours else ())
            yield Finding("ENGINE-ADVISORY", severity, evidence, fix)


def find_old_advisories(facts: Facts, today: date) -> Iterator[Finding]:
    """Yield where the sources of what is known of advisories were read too long before ``today``."""
    known = load_advisories()
    age_days = known.age_days(today)
    if age_days > known.stale_after_days:
        evidence = (
            f"what this fabric knows of security advisories was read on {known.checked}, {age_days} days ago; "
            f"after {known.stale_after_days} it counts as old"
        )
        yield Finding("ENGINE-ADVISORIES-OLD", Severity.WARNING, evidence, fix_for(facts, "ENGINE-ADVISORIES-OLD"))


def _said(advisory: Advisory) -> str:
    fixed = f"fixed in {advisory.fixed_in}" if advisory.fixed_in else "no version is known to be without it"
    needs = f"; only with {advisory.needs}" if advisory.needs else ""
    return f"{advisory.id} ({', '.join(filter(None, (advisory.severity, fixed)))}{needs}): {advisory.summary}"
