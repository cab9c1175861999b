"""The numbers that findings hold themselves, against the data files that they stand for."""

from __future__ import annotations

import pytest

from provision.engines.llamacpp import LlamaCpp
from provision.facts.findings.builds import oldest_capability, oldest_driver
from provision.facts.findings.limits import X86_64_ISA
from provision.facts.findings.system import OLDEST_GLIBC
from provision.facts.findings.vulkan import LEAST_BYTES
from provision.knowledge.drivers import load_drivers
from provision.knowledge.hardware import load_hardware
from provision.knowledge.versions import numbers
from tests.standin.finding_cases import build_facts

ON_LINUX = [release for release in LlamaCpp().releases() if release.system == "Linux" and release.wheel]


def test_the_oldest_glibc_is_that_of_the_engine_that_fabric_installs() -> None:
    assert min(numbers(release.glibc) for release in ON_LINUX) == numbers(OLDEST_GLIBC)


def test_the_instructions_are_those_that_the_engine_that_fabric_installs_is_built_for() -> None:
    assert [sorted(release.isa) for release in ON_LINUX if release.arch == "x86_64"] == [sorted(X86_64_ISA)]


def test_the_least_memory_of_a_card_for_vulkan_is_that_of_the_rules() -> None:
    rules = [profile.gpu for profile in load_hardware().profiles if profile.acceleration == "vulkan" and profile.gpu]
    assert {rule.memory_gib for rule in rules if rule.memory_gib is not None} == {LEAST_BYTES / (1 << 30)}


def test_the_generation_that_nothing_is_to_be_done_for_is_below_every_build() -> None:
    kepler = next(known for known in load_drivers().nvidia.generations if known.name == "kepler")
    assert kepler.below == oldest_capability(build_facts({"gpus": [{"like": "rtx4090"}]}))


# Device numbers from the PCI ID repository: GTX 770, GTX 750 Ti, GTX 1060, TITAN V, RTX 2080 Ti, RTX 3060, RTX 5090.
@pytest.mark.parametrize(
    ("capability", "number", "names"),
    [
        ("3.0", None, ["kepler"]),
        (None, 0x1184, ["kepler"]),
        (None, 0x1380, ["legacy"]),
        ("6.1", 0x1C03, ["legacy"]),
        (None, 0x1D81, ["legacy"]),
        ("7.5", None, []),
        (None, 0x1E07, []),
        (None, 0x2504, []),
        ("12.0", None, ["blackwell"]),
        (None, 0x2B85, ["blackwell"]),
        ("8.9", 0x2B85, []),
        (None, None, []),
        ("unknown", None, []),
    ],
)
def test_a_generation_is_known_by_capability_or_else_by_number(
    capability: str | None, number: int | None, names: list[str]
) -> None:
    known = load_drivers().nvidia.generations
    assert [generation.name for generation in known if generation.holds(capability, number)] == names


@pytest.mark.parametrize(
    ("capability", "driver"), [("6.1", "570"), ("7.0", "550"), ("8.9", "525"), ("3.5", None), (None, "525")]
)
def test_the_oldest_driver_is_the_lowest_that_some_build_takes_for_this_gpu(
    capability: str | None, driver: str | None
) -> None:
    facts = build_facts({"gpus": [{"like": "rtx4090", "arch": capability}]})
    assert oldest_driver(facts, facts.gpus[0]) == driver
