"""The sets of wheels: each fits the machine that it says it is for, and asks for no more than that."""

from __future__ import annotations

import pytest
from packaging.tags import Tag, compatible_tags, cpython_tags
from packaging.utils import parse_wheel_filename

from provision import assets
from provision.choosing import read_knowledge
from provision.domain.facts import Facts
from provision.domain.spec import Spec
from provision.knowledge.load import load
from provision.knowledge.wheel_sets import WheelSet
from provision.select.sources import Way, ways

NAMES = sorted(path.stem for path in (assets.ROOT / "profiles" / "wheels").iterdir())
OLD_NAMES = {"manylinux1": 5, "manylinux2010": 12, "manylinux2014": 17}  # the y of glibc 2.y that they stand for


def read(name: str) -> WheelSet:
    found: WheelSet = load(f"wheels/{name}", WheelSet)
    return found


def minor(version: str) -> int:
    return int(version.partition(".")[2])


def tags(of: WheelSet, glibc_minor: int) -> set[Tag]:
    """Return what an interpreter of the set's version takes on its system with glibc 2.``glibc_minor``."""
    names = [f"manylinux_2_{number}" for number in range(5, glibc_minor + 1)]
    names += [name for name, number in OLD_NAMES.items() if number <= glibc_minor]
    platforms, python = [f"{name}_{of.arch}" for name in names], (3, minor(of.python))
    return {
        *cpython_tags(python, platforms=platforms),
        *compatible_tags(python, f"cp3{minor(of.python)}", platforms),
    }


def unfit(of: WheelSet, glibc_minor: int) -> list[str]:
    taken = tags(of, glibc_minor)
    return [wheel.filename for wheel in of.wheels if not parse_wheel_filename(wheel.filename)[3] & taken]


@pytest.mark.parametrize("name", NAMES)
def test_the_oldest_c_library_of_a_set_is_what_its_files_need(name: str) -> None:
    found = read(name)
    assert found.system == "Linux"
    assert not unfit(found, minor(found.glibc))
    assert unfit(found, minor(found.glibc) - 1), "an older one would do"


def installing() -> list[Way]:
    every = ways(read_knowledge(), Spec(), Facts(), {})
    return [way for way in every if way.release and way.release.wheel_set]


@pytest.mark.parametrize("way", installing(), ids=lambda way: way.release.build)
def test_a_build_asks_for_what_its_wheels_ask_for(way: Way) -> None:
    assert way.release is not None
    assert way.release.wheel_set is not None
    wheels = read(way.release.wheel_set)
    assert (way.release.system, way.release.arch, way.release.python) == (wheels.system, wheels.arch, wheels.python)
    assert way.build.glibc == wheels.glibc


def test_every_set_is_installed_by_some_build() -> None:
    assert {way.release.wheel_set for way in installing() if way.release} == set(NAMES)
