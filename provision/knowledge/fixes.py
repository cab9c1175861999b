"""What a person can do about a finding, by the host that has it, from ``profiles/fixes.yaml``."""

from __future__ import annotations

from collections.abc import Collection

import msgspec

from provision.domain.facts import OperatingSystem
from provision.knowledge.load import load

ANY = "any"


class Family(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Systems that are administered alike: by distribution, or those made from one, or by package manager."""

    name: str
    distributions: tuple[str, ...] = ()
    package_managers: tuple[str, ...] = ()
    immutable: bool | None = None


class Fix(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What to do on the hosts that it is for; what is left out does not matter.

    ``container`` holds engines, or ``any``. ``tags`` are what the finding itself says of the case; all of them have
    to hold. ``do`` are lines, each a command for this host, or a comment of the shell; placeholders are in braces.
    """

    do: str
    family: tuple[str, ...] = ()
    container: tuple[str, ...] = ()
    wsl: int | None = None
    vendor: str | None = None
    tags: tuple[str, ...] = ()


class Fixes(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file. The first family and, for a finding, the first fix that match a host are its own."""

    version: int
    checked: str
    families: tuple[Family, ...]
    fixes: dict[str, tuple[Fix, ...]]


def load_fixes() -> Fixes:
    """Return what is known about fixing things."""
    fixes: Fixes = load("fixes", Fixes)
    return fixes


def family_of(families: tuple[Family, ...], host: OperatingSystem) -> str | None:
    """Return the name of the family that ``host`` belongs to."""
    return next((family.name for family in families if _belongs(family, host)), None)


def _belongs(family: Family, host: OperatingSystem) -> bool:
    if family.immutable is not None and family.immutable != bool(host.immutable):
        return False
    if family.package_managers and host.package_manager in family.package_managers:
        return True
    known = (host.distribution, *host.like)
    named = any(name in family.distributions for name in known)
    return named or not (family.distributions or family.package_managers)


def choose_fix(
    fixes: Fixes, code: str, host: OperatingSystem, vendor: str | None = None, tags: Collection[str] = ()
) -> Fix:
    """Return the first fix for ``code`` that is for this host. Raises ``LookupError`` where there is none."""
    family = family_of(fixes.families, host)
    for fix in fixes.fixes.get(code, ()):
        if _suits(fix, host, family) and fix.vendor in (None, vendor) and all(tag in tags for tag in fix.tags):
            return fix
    raise LookupError(f"no fix for {code}")


def _suits(fix: Fix, host: OperatingSystem, family: str | None) -> bool:
    if fix.wsl is not None and fix.wsl != host.wsl:
        return False
    if fix.family and family not in fix.family:
        return False
    if not fix.container:
        return True
    return host.container is not None and (ANY in fix.container or host.container in fix.container)
