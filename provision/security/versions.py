"""Whether the engine that is set up is older than the first version without known security holes."""

from __future__ import annotations

import re

from provision.domain.security_check import Outcome, SecurityCheck
from provision.domain.selection import Selection
from provision.knowledge.engine_files import load_engine_file
from provision.knowledge.versions import older

CODE = "engine-version"
_BUILD = re.compile(r"b?(\d{3,9})")


def check(selection: Selection | None) -> SecurityCheck:
    """Compare with the floor in the engine's data file."""
    if selection is None or selection.is_remote:
        return SecurityCheck(CODE, Outcome.UNKNOWN, "no server of fabric's is set up")
    known = load_engine_file(selection.backend)
    version, said = selection.release.version, f"{selection.backend} {selection.release.version or '(unknown)'}"
    floor = known.oldest_version or (f"b{known.oldest_build}" if known.oldest_build else None)
    build = _BUILD.fullmatch(version or "")
    if floor is None:
        return SecurityCheck(CODE, Outcome.UNKNOWN, f"{said}: no floor is known for it")
    if known.oldest_version and older(version, known.oldest_version):
        is_old = True
    elif known.oldest_build and build:
        is_old = int(build[1]) < known.oldest_build
    elif known.oldest_version and version:
        is_old = False
    else:
        return SecurityCheck(CODE, Outcome.UNKNOWN, f"{said}: its number cannot be compared with {floor}")
    outcome = Outcome.FAILED if is_old else Outcome.OK
    evidence = f"{said}; {floor} is the first without known holes, as of {known.checked}"
    return SecurityCheck(CODE, outcome, evidence, "fabric up --refresh" if is_old else "")
