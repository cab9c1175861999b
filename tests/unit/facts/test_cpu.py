from __future__ import annotations

from collections.abc import Callable

import pytest

from provision.domain.facts import Cpu
from provision.facts.cgroup import Limits
from provision.facts.cpu import (
    CpuInfo,
    Processors,
    describe_cpu,
    parse_allowed,
    parse_cpu_list,
    parse_cpuinfo,
    read_cpuinfo,
    read_processors,
    usable_cores,
)
from provision.host.machine import Machine

Imagine = Callable[..., Machine]


def x86(*cores: tuple[int, int], flags: str = "fpu AVX2 avx") -> str:
    """Compose /proc/cpuinfo of processors that lie on these (package, core)."""
    return "\n".join(
        f"processor\t: {number}\nvendor_id\t: GenuineIntel\nmodel name\t: Intel(R)  Test\n"
        f"physical id\t: {package}\ncore id\t\t: {core}\nflags\t\t: {flags}\n"
        for number, (package, core) in enumerate(cores)
    )


def arm(*cores: tuple[str, str], tail: str = "") -> str:
    """Compose /proc/cpuinfo of Arm processors by (implementer, part)."""
    blocks = (
        f"processor\t: {number}\nFeatures\t: fp asimd asimddp\nCPU implementer\t: {implementer}\nCPU part\t: {part}\n"
        for number, (implementer, part) in enumerate(cores)
    )
    return "\n".join(blocks) + tail


FOUR_THREADS = parse_cpuinfo(x86((0, 0), (0, 1), (0, 0), (0, 1)))


def test_x86() -> None:
    info = parse_cpuinfo(x86((0, 0), (1, 0)))
    assert info == CpuInfo("GenuineIntel", "Intel(R) Test", ("avx", "avx2", "fpu"), {0: ("0", "0"), 1: ("1", "0")})


def test_a_hypervisor_may_hide_name_and_topology() -> None:
    info = parse_cpuinfo("processor: 0\nmodel name: unknown\nflags: fpu\n")
    assert (info.vendor, info.model, info.cores) == (None, None, {0: None})


@pytest.mark.parametrize(
    ("cores", "vendor", "model"),
    [
        ([("0x41", "0xd0c")] * 2, "ARM", "Neoverse-N1"),
        ([("0x41", "0xd4f")], "ARM", "Neoverse-V2"),
        ([("0x41", "0xd05"), ("0x41", "0xd05"), ("0x41", "0xd0b")], "ARM", "Cortex-A55 + Cortex-A76"),
        ([("0x61", "0x022"), ("0x61", "0x023")], "Apple", "Apple M1"),
        ([("0x41", "0xd05"), ("0x41", "0xfff")], "ARM", None),
        ([("0x99", "0x001")], None, None),
    ],
)
def test_arm_cores_have_numbers_for_names(cores: list[tuple[str, str]], vendor: str | None, model: str | None) -> None:
    info = parse_cpuinfo(arm(*cores))
    assert (info.vendor, info.model, info.isa) == (vendor, model, ("asimd", "asimddp", "fp"))


def test_a_board_s_name_stands_in_for_an_unknown_core(imagine: Imagine) -> None:
    unknown, known = arm(("0x41", "0xfff"), tail="\nModel\t\t: x\n"), arm(("0x41", "0xd0b"))
    board = {"/proc/device-tree/model": "Raspberry Pi 9\0"}
    assert read_cpuinfo(imagine({"/proc/cpuinfo": unknown})) == parse_cpuinfo(unknown)
    for text, model in ((unknown, "Raspberry Pi 9"), (known, "Cortex-A76")):
        info = read_cpuinfo(imagine({"/proc/cpuinfo": text, **board}))
        assert info is not None
        assert info.model == model


@pytest.mark.parametrize("text", ["", "nonsense", "processor: x\nflags: fpu\n", "flags: avx2\n"])
def test_cpuinfo_without_processors_makes_no_sense(text: str) -> None:
    with pytest.raises(ValueError, match="no processor"):
        parse_cpuinfo(text)


@pytest.mark.parametrize(
    ("text", "numbers"),
    [("0\n", {0}), ("0-3\n", {0, 1, 2, 3}), ("0-1,4,6-7", {0, 1, 4, 6, 7}), ("127-127", {127})],
)
def test_cpu_list(text: str, numbers: set[int]) -> None:
    assert parse_cpu_list(text) == numbers


@pytest.mark.parametrize("text", ["", "\n", "3-1", "a-b", "0,,1", "-1", "0-99999999999"])
def test_cpu_list_that_makes_no_sense(text: str) -> None:
    with pytest.raises(ValueError, match=r"\S"):
        parse_cpu_list(text)


def test_allowed() -> None:
    status = "Cpus_allowed:\tf\nCpus_allowed_list:\t0-1,3\nMems_allowed_list:\t0\n"
    assert parse_allowed(status) == frozenset({0, 1, 3})
    assert parse_allowed("Name:\tpython3\n") is None


@pytest.mark.parametrize(("smt", "expected"), [("0\n", False), ("1\n", True), ("", None)])
def test_processors(smt: str, expected: bool | None, imagine: Imagine) -> None:
    files = {
        "/proc/self/status": "Cpus_allowed_list:\t1\n",
        "/sys/devices/system/cpu/online": "0-1\n",
        "/sys/devices/system/cpu/smt/active": smt,
    }
    assert read_processors(imagine(files)) == Processors(frozenset({0, 1}), frozenset({1}), expected)


def test_processors_of_nothing_are_unknown(imagine: Imagine) -> None:
    assert read_processors(imagine()) is None
    only_online = read_processors(imagine({"/sys/devices/system/cpu/online": "0\n"}))
    assert only_online == Processors(frozenset({0}), None, None)


@pytest.mark.parametrize(
    ("allowed", "quota", "expected"),
    [(4, None, 4), (4, 1.5, 2), (4, 2.0, 2), (4, 0.1, 1), (4, 0.0, 1), (2, 64.0, 2), (0, 2.0, None), (0, None, None)],
)
def test_usable_cores(allowed: int, quota: float | None, expected: int | None) -> None:
    assert usable_cores(allowed, quota) == expected


@pytest.mark.parametrize(
    ("allowed", "physical", "usable"),
    [({0, 1, 2, 3}, 2, 4), ({0, 2}, 1, 2), ({0, 1}, 2, 2), ({3}, 1, 1), (None, 2, 4)],
)
def test_two_threads_a_core(allowed: set[int] | None, physical: int, usable: int) -> None:
    processors = Processors(frozenset(range(4)), None if allowed is None else frozenset(allowed), smt=True)
    cpu = describe_cpu(FOUR_THREADS, processors, Limits())
    assert (cpu.cores_physical, cpu.cores_logical, cpu.cores_usable) == (physical, 4, usable)


def test_processors_to_be_added_later_do_not_count() -> None:
    processors = Processors(online=frozenset({0, 1}), allowed=frozenset(range(128)))
    cpu = describe_cpu(parse_cpuinfo(x86((0, 0), (0, 1))), processors, Limits())
    assert (cpu.cores_physical, cpu.cores_logical, cpu.cores_usable) == (2, 2, 2)


@pytest.mark.parametrize(("smt", "physical"), [(False, 2), (True, None), (None, None)])
def test_without_topology_only_the_absence_of_smt_tells_cores(smt: bool | None, physical: int | None) -> None:
    info = parse_cpuinfo(arm(("0x41", "0xd0c"), ("0x41", "0xd0c")))
    cpu = describe_cpu(info, Processors(frozenset({0, 1}), frozenset({0, 1}), smt), Limits())
    assert (cpu.cores_physical, cpu.cores_usable) == (physical, 2)


def test_nothing_known_is_nothing_said() -> None:
    assert describe_cpu(CpuInfo(), Processors(), Limits(cpus=2.0)) == Cpu()
