"""Whether the engine that is set up has security holes that are known."""

from __future__ import annotations

from provision.domain.security_check import Outcome, SecurityCheck
from provision.domain.selection import Selection
from provision.knowledge.advisories import load_advisories, why_refused

CODE = "engine-version"


def check(selection: Selection | None) -> SecurityCheck:
    """Compare its version with the advisories."""
    if selection is None or selection.is_remote:
        return SecurityCheck(CODE, Outcome.UNKNOWN, "no server of fabric's is set up")
    known, engine, version = load_advisories(), selection.backend, selection.release.version
    if not known.comparable(engine, version):
        return SecurityCheck(CODE, Outcome.UNKNOWN, f"{engine} {version or '(unknown)'}: its version says nothing")
    if refused := why_refused(engine, version):
        return SecurityCheck(CODE, Outcome.FAILED, f"{engine} {version} {refused}", "fabric up --refresh")
    return SecurityCheck(CODE, Outcome.OK, f"{engine} {version} has no known holes, as of {known.checked}")
