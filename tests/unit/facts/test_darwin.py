from __future__ import annotations

from collections.abc import Callable

import pytest

from provision.domain.facts import Outcome
from provision.facts.darwin import SYSCTL, VM_STAT, describe_cpu, describe_memory, parse_sysctl, parse_vm_stat
from provision.facts.detect import detect
from provision.host.machine import CommandResult, Machine, Platform

Imagine = Callable[..., Machine]

INTEL = """hw.memsize: 17179869184
hw.ncpu: 16
hw.physicalcpu: 8
hw.optional.avx2_0: 1
machdep.cpu.vendor: GenuineIntel
machdep.cpu.brand_string: Intel(R) Core(TM) i9-9880H CPU @ 2.30GHz
machdep.cpu.features: FPU SSE3 FMA SSE4.1 SSE4.2 POPCNT AVX1.0 RDRAND F16C
machdep.cpu.leaf7_features: RDWRFSGS BMI1 AVX2 BMI2
kern.osproductversion: 13.7.6
"""
ARM = """hw.memsize: 137438953472
hw.logicalcpu: 16
hw.physicalcpu: 16
hw.optional.arm64: 1
hw.optional.arm.FEAT_DotProd: 1
hw.optional.arm.FEAT_I8MM: 1
hw.optional.arm.FEAT_BF16: 1
hw.optional.arm.FEAT_SME: 1
hw.optional.arm.FEAT_SME2: 0
machdep.cpu.brand_string: Apple M4 Max
"""
PAGES = "Mach Virtual Memory Statistics: (page size of 4096 bytes)\nPages free: 10.\nPages inactive: 20.\n"


def test_intel_features_get_the_names_that_linux_gives_them() -> None:
    cpu = describe_cpu(parse_sysctl(INTEL))
    isa = ("avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "pni", "popcnt", "sse4_1", "sse4_2")
    assert (cpu.vendor, cpu.model, cpu.isa) == ("GenuineIntel", "Intel(R) Core(TM) i9-9880H CPU @ 2.30GHz", isa)
    assert (cpu.cores_physical, cpu.cores_logical, cpu.cores_usable) == (8, 16, 16)


def test_arm_features_get_the_names_that_linux_gives_them() -> None:
    cpu = describe_cpu(parse_sysctl(ARM))
    assert (cpu.vendor, cpu.model) == ("Apple", "Apple M4 Max")
    assert cpu.isa == ("asimd", "asimddp", "bf16", "i8mm", "sme")
    assert (cpu.cores_physical, cpu.cores_logical, cpu.cores_usable) == (16, 16, 16)


def test_vm_stat_counts_what_programs_can_have() -> None:
    assert parse_vm_stat(PAGES) == 30 * 4096
    assert parse_vm_stat(PAGES + "Pages speculative: 5.\nPages active: 99.\n") == 35 * 4096


@pytest.mark.parametrize("text", ["", "Pages free: 10.\n", "(page size of 4096 bytes)\nPages free: 1.\n"])
def test_vm_stat_that_makes_no_sense(text: str) -> None:
    with pytest.raises(ValueError, match="page"):
        parse_vm_stat(text)


def test_numbers_that_are_none_are_unknown() -> None:
    values = parse_sysctl("hw.memsize: plenty\nhw.ncpu:\n")
    assert describe_memory(values, None).total_bytes is None
    assert describe_cpu(values).cores_usable is None


def mac(imagine: Imagine, sysctl: CommandResult, vm_stat: CommandResult, arch: str = "arm64") -> Machine:
    results = {SYSCTL.argv: sysctl, VM_STAT.argv: vm_stat}
    return imagine(platform=Platform("Darwin", arch, "24.6.0"), results=results)


def test_a_translated_program_still_sees_an_arm_mac(imagine: Imagine) -> None:
    facts = detect(mac(imagine, CommandResult(1, ARM, "unknown oid"), CommandResult(0, PAGES), "x86_64"), "/p")
    assert (facts.os.arch, facts.cpu.model, facts.memory.available_bytes) == ("arm64", "Apple M4 Max", 30 * 4096)
    assert facts.findings == ()


def test_a_program_that_hangs_or_is_not_there(imagine: Imagine) -> None:
    slow, absent = CommandResult(124, "", "no answer within 5 s"), CommandResult(127, "", "not found")
    facts = detect(mac(imagine, absent, slow), "/p")
    outcomes = {probe.name: (probe.outcome, probe.detail) for probe in facts.probes}
    assert outcomes["sysctl"] == (Outcome.MISSING, "nothing readable: /usr/sbin/sysctl")
    assert outcomes["vm_stat"] == (Outcome.FAILED, "timed out: /usr/bin/vm_stat: no answer within 5 s")
    assert (facts.cpu.cores_usable, facts.memory.total_bytes, facts.memory.available_bytes) == (None, None, None)
    assert [(finding.code, finding.fix) for finding in facts.findings] == [
        ("PROBE-TIMEOUT", "# See where it hangs:\n/usr/bin/vm_stat")
    ]
