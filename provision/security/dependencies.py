"""Whether the packages that fabric asks for are there, in versions that it asks for: its floors have no known holes."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, requires, version

from provision.domain.security_check import Outcome, SecurityCheck

CODE = "dependencies"
DISTRIBUTION = "llm-fabric"
FIX = "Install fabric again, such as with ./bootstrap.sh."


def check() -> SecurityCheck:
    """Hold what is installed against what fabric asked for when it was; no database of advisories is asked."""
    try:
        return judge(requires(DISTRIBUTION) or ())
    except PackageNotFoundError:
        return SecurityCheck(CODE, Outcome.UNKNOWN, "fabric runs without having been installed")
    except ImportError as error:  # of what reads the requirements
        return SecurityCheck(CODE, Outcome.FAILED, f"{error.name or error} is missing", FIX)


def judge(asked: Iterable[str]) -> SecurityCheck:
    """Tell which of these requirements what is installed does not meet; one that is missing counts as well."""
    from packaging.requirements import Requirement

    wanted = [Requirement(text) for text in asked]
    here = [each for each in wanted if each.marker is None or each.marker.evaluate({"extra": ""})]
    unmet = []
    for each in here:
        found = _installed(each.name)
        if found is None or not each.specifier.contains(found, prereleases=True):
            unmet.append(f"{each.name} {found or '(missing)'}, not {each.specifier}")
    if unmet:
        return SecurityCheck(CODE, Outcome.FAILED, f"there is {'; '.join(unmet)}", FIX)
    return SecurityCheck(CODE, Outcome.OK, f"the {len(here)} packages that fabric asks for are as it asked for them")


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
