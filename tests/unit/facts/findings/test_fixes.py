"""The table of fixes: whole, strict, and right for the systems that it names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from provision.assets import profile
from provision.domain.facts import OperatingSystem
from provision.errors import InvalidInputError
from provision.facts.findings.find import CODES
from provision.facts.os_release import parse_os_release
from provision.knowledge.drivers import Drivers
from provision.knowledge.fixes import Fix, Fixes, choose_fix, family_of, load_fixes
from provision.knowledge.load import check

SAMPLES = Path(__file__).parents[3] / "samples" / "os"
FAMILIES = {
    "alpine322": "alpine",
    "arch": "arch",
    "debian12": "debian",
    "debian_testing_no_version_id": "debian",
    "fedora42": "fedora",
    "linuxmint22": "ubuntu",
    "opensuse_tumbleweed": "tumbleweed",
    "rhel9": "rhel",
    "rocky9": "rhel",
    "ubuntu2204": "ubuntu",
    "ubuntu2404": "ubuntu",
}


@pytest.mark.parametrize("path", sorted(SAMPLES.glob("os-release.*")), ids=lambda path: path.suffix[1:])
def test_a_distribution_belongs_to_the_family_that_it_is_administered_like(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    release = parse_os_release("\n".join(line for line in lines if not line.startswith("#")))
    host = OperatingSystem(distribution=release.distribution, like=release.like)
    assert family_of(load_fixes().families, host) == FAMILIES[path.suffix[1:]]


@pytest.mark.parametrize(
    ("host", "family"),
    [
        (OperatingSystem(distribution="fedora", variant="kinoite", immutable=True), "ostree"),
        (OperatingSystem(distribution="opensuse-microos", like=("suse", "opensuse"), immutable=True), "microos"),
        (OperatingSystem(distribution="steamos", like=("arch",), immutable=True), "immutable"),
        (OperatingSystem(distribution="nixos", immutable=True), "nixos"),
        (OperatingSystem(distribution="amzn", like=("fedora",)), "rhel"),
        (OperatingSystem(distribution="pop", like=("ubuntu", "debian")), "ubuntu"),
        (OperatingSystem(distribution="plan10", package_manager="apt-get"), "debian"),
        (OperatingSystem(distribution="plan10"), None),
        (OperatingSystem(), None),
    ],
)
def test_other_systems_belong_where_their_packages_come_from(host: OperatingSystem, family: str | None) -> None:
    assert family_of(load_fixes().families, host) == family


def test_every_code_ends_with_a_fix_for_everybody_else() -> None:
    assert set(load_fixes().fixes) == set(CODES)
    for code, fixes in load_fixes().fixes.items():
        assert fixes[-1] == Fix(do=fixes[-1].do)
        assert Fix(do="") not in [Fix(do="", **_conditions(fix)) for fix in fixes[:-1]], f"{code}: a fix hides others"


def _conditions(fix: Fix) -> dict[str, Any]:
    return {name: getattr(fix, name) for name in Fix.__struct_fields__ if name != "do"}


def test_every_family_that_a_fix_names_is_one() -> None:
    fixes = load_fixes()
    known = {family.name for family in fixes.families}
    assert {name for listed in fixes.fixes.values() for fix in listed for name in fix.family} <= known


def test_a_key_that_nobody_knows_is_refused() -> None:
    fixes, drivers = profile("fixes"), profile("drivers")
    fixes["families"][0]["distribution"] = "nixos"
    drivers["amd"]["kernel"] = "6.1"
    with pytest.raises(InvalidInputError, match="distribution"):
        check(fixes, Fixes, "fixes.yaml")
    with pytest.raises(InvalidInputError, match="kernel"):
        check(drivers, Drivers, "drivers.yaml")


def test_a_code_without_a_fix_is_an_error_and_not_an_empty_fix() -> None:
    with pytest.raises(LookupError):
        choose_fix(load_fixes(), "NO-SUCH-CODE", OperatingSystem())
