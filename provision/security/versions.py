"""Whether a security advisory is known for the engine that is set up."""

from __future__ import annotations

from provision.domain.security_check import Outcome, SecurityCheck
from provision.domain.selection import Selection
from provision.knowledge.advisories import load_advisories, why_refused

CODE = "engine-version"


def check(selection: Selection | None) -> SecurityCheck:
    """Hold its version against the advisories; those that need what fabric does not set up do not count."""
    if selection is None or selection.is_remote:
        return SecurityCheck(CODE, Outcome.UNKNOWN, "no server of fabric's is set up")
    engine, version, known = selection.backend, selection.release.version, load_advisories()
    said = f"{engine} {version or '(of unknown version)'}"
    if not known.comparable(engine, version):
        return SecurityCheck(CODE, Outcome.UNKNOWN, f"{said} cannot be compared with the advisories")
    why = why_refused(engine, version)
    if why:
        return SecurityCheck(CODE, Outcome.FAILED, f"{said} {why}", "fabric lock --upgrade, or fabric up --refresh")
    rest = [f"{each.id} needs {each.needs}" for each in known.of(engine, version)]
    told = f"; {', '.join(rest)}: fabric sets none of that up" if rest else ""
    return SecurityCheck(CODE, Outcome.OK, f"no advisory of {known.checked} counts against {said}{told}")
