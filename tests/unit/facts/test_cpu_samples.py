"""Every sample of a processor, against its verdict."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from provision.facts.cgroup import Limits
from provision.facts.cpu import (
    Processors,
    describe_cpu,
    parse_cpu_list,
    parse_cpuinfo,
    read_cpuinfo,
    read_processors,
)
from provision.facts.cpu_topology import read_fastest, read_numa_nodes
from provision.facts.environment import normalise_arch
from provision.facts.virtual_machine import read_vm
from provision.host.machine import Machine

Imagine = Callable[..., Machine]

SAMPLES = Path(__file__).parents[2] / "samples" / "cpu"

# What each build of llama.cpp's CPU back end needs, the one that it prefers last (ggml/src/CMakeLists.txt).
SANDYBRIDGE = {"sse4_2", "avx"}
IVYBRIDGE = SANDYBRIDGE | {"f16c"}
HASWELL = IVYBRIDGE | {"fma", "avx2", "bmi2"}
SKYLAKEX = HASWELL | {"avx512f", "avx512cd", "avx512dq", "avx512bw", "avx512vl"}
ICELAKE = SKYLAKEX | {"avx512vbmi", "avx512_vnni"}
ZEN4 = ICELAKE | {"avx512_bf16"}
DOTPROD = {"asimd", "asimddp", "asimdhp"}
X86_BUILDS = {
    "x64": set[str](),
    "sse42": {"sse4_2"},
    "sandybridge": SANDYBRIDGE,
    "ivybridge": IVYBRIDGE,
    "haswell": HASWELL,
    "alderlake": HASWELL | {"avx_vnni"},
    "skylakex": SKYLAKEX,
    "cascadelake": SKYLAKEX | {"avx512_vnni"},
    "icelake": ICELAKE,
    "zen4": ZEN4,
    "sapphirerapids": ZEN4 | {"amx_tile", "amx_int8"},
}
ARM_BUILDS = {
    "armv8.0_1": {"asimd"},
    "armv8.2_1": {"asimd", "asimddp"},
    "armv8.2_2": DOTPROD,
    "armv8.2_3": DOTPROD | {"sve"},
    "armv8.6_1": DOTPROD | {"sve", "i8mm"},
    "armv8.6_2": DOTPROD | {"sve", "i8mm", "sve2"},
    "armv9.2_1": DOTPROD | {"sve", "i8mm", "sme"},
}


def rows() -> list[list[str]]:
    text = (SAMPLES / "expected.tsv").read_text(encoding="utf-8")
    return [line.split("\t") for line in text.splitlines() if not line.startswith("#")]


def isa_of(name: str) -> frozenset[str]:
    return frozenset(parse_cpuinfo((SAMPLES / name).read_text(encoding="utf-8")).isa)


def test_every_processor_has_a_verdict() -> None:
    names = {path.name for path in SAMPLES.glob("*.cpuinfo")}
    assert names == {row[0] for row in rows()} | {"captured_vm_cascadelake_2vcpu.cpuinfo"}


@pytest.mark.parametrize("row", rows(), ids=lambda row: row[0])
def test_instruction_set(row: list[str]) -> None:
    isa = isa_of(row[0])
    if row[0].startswith("arm_"):
        found = ["-", "-", "asimddp" in isa, {"i8mm", "bf16"} <= isa, "-"]
    else:
        vnni = bool({"avx_vnni", "avx512_vnni"} & isa)
        found = ["avx2" in isa, "avx512f" in isa, vnni, "avx512_bf16" in isa, {"amx_tile", "amx_int8"} <= isa]
    assert [flag if flag == "-" else str(int(bool(flag))) for flag in found] == row[2:]


@pytest.mark.parametrize("row", rows(), ids=lambda row: row[0])
def test_the_facts_tell_which_build_llama_cpp_would_take(row: list[str]) -> None:
    builds = ARM_BUILDS if row[0].startswith("arm_") else X86_BUILDS
    isa = isa_of(row[0])
    assert [name for name, needs in builds.items() if needs <= isa][-1] == row[1]


@pytest.mark.parametrize(
    ("name", "vendor", "model"),
    [
        ("amd_ryzen9_7950x", "AuthenticAMD", "AMD Ryzen 9 7950X 16-Core Processor"),
        ("intel_i5_2500", "GenuineIntel", "Intel(R) Core(TM) i5-2500 CPU @ 3.30GHz"),
        ("arm_rpi4_a72", "ARM", "Cortex-A72"),
        ("arm_ampere_altra_n1", "ARM", "Neoverse-N1"),
        ("arm_jetson_orin_a78ae", "ARM", "Cortex-A78AE"),
        ("arm_grace_v2", "ARM", "Neoverse-V2"),
        ("arm_apple_m1_asahi", "Apple", "Apple M1"),
    ],
)
def test_names(name: str, vendor: str, model: str) -> None:
    info = parse_cpuinfo((SAMPLES / f"{name}.cpuinfo").read_text(encoding="utf-8"))
    assert (info.vendor, info.model) == (vendor, model)


def test_the_captured_machine_is_what_lscpu_says_of_it(imagine: Imagine) -> None:
    entries = json.loads((SAMPLES / "captured_lscpu_J_vm.json").read_text(encoding="utf-8"))["lscpu"]
    lscpu = {entry["field"].rstrip(":"): entry["data"] for entry in entries}
    first = (SAMPLES / "captured_vm_cascadelake_2vcpu.cpuinfo").read_text(encoding="utf-8").strip()
    second = first.replace("processor\t: 0", "processor\t: 1").replace("core id\t\t: 0", "core id\t\t: 1")
    clocks = {"/sys/devices/system/clocksource/clocksource0/available_clocksource": "kvm-clock tsc\n"}
    machine = imagine({"/proc/cpuinfo": f"{first}\n\n{second}\n\n", **clocks})
    info = read_cpuinfo(machine)
    assert info is not None
    online = parse_cpu_list(lscpu["On-line CPU(s) list"])
    cpu = describe_cpu(info, Processors(online, online, smt=lscpu["Thread(s) per core"] != "1"), Limits())
    assert (cpu.vendor, cpu.model) == (lscpu["Vendor ID"], lscpu["Model name"])
    assert cpu.isa == tuple(sorted(lscpu["Flags"].split()))
    assert cpu.cores_logical == int(lscpu["CPU(s)"])
    assert cpu.cores_physical == int(lscpu["Core(s) per socket"]) * int(lscpu["Socket(s)"])
    assert read_vm(machine, info.isa) == lscpu["Hypervisor vendor"].lower()
    assert normalise_arch("Linux", machine.platform.machine) == lscpu["Architecture"]


def tree(name: str) -> tuple[dict[str, str], str]:
    """Read a flattened tree: the files, and the verdict behind ``expect=``."""
    text = (SAMPLES / name).read_text(encoding="utf-8")
    pairs = dict(line.split("=", 1) for line in text.splitlines() if line and not line.startswith("#"))
    verdict = pairs.pop("expect", "")
    return {path: f"{value}\n" for path, value in pairs.items()}, verdict


def test_hybrid_intel(imagine: Imagine) -> None:
    files, verdict = tree("hybrid_sysfs_12700k.txt")
    assert verdict.startswith("8 P cores (16 threads) + 4 E cores")
    siblings = parse_cpu_list(files["/sys/devices/system/cpu/cpu0/topology/thread_siblings_list"])
    threads = len(siblings)
    p_cores, e_cores = (parse_cpu_list(files[f"/sys/devices/cpu_{kind}/cpus"]) for kind in ("core", "atom"))
    block = (SAMPLES / "intel_i7_12700k.cpuinfo").read_text(encoding="utf-8").strip()
    blocks = [
        block.replace("processor\t: 0", f"processor\t: {number}").replace(
            "core id\t\t: 0", f"core id\t\t: {number // threads if number in p_cores else number}"
        )
        for number in sorted(p_cores | e_cores)
    ]
    files["/proc/cpuinfo"] = "\n\n".join(blocks) + "\n\n"
    assert performance_of(files, imagine) == (8, 12)
    assert performance_of(files, imagine, allowed="0-3,16-17") == (2, 4)
    assert performance_of(files, imagine, allowed="0-15") == (None, 8)
    assert performance_of(files, imagine, allowed="16-19") == (None, 4)


def test_big_and_little_arm_cores(imagine: Imagine) -> None:
    files, verdict = tree("biglittle_sysfs_rk3588.txt")
    assert verdict.startswith("4 big + 4 little")
    parts = {"414": "0xd05", "1024": "0xd0b"}  # Cortex-A55 and Cortex-A76, of which the RK3588 is made
    capacities = [value.strip() for _, value in sorted(files.items())]
    files["/proc/cpuinfo"] = "\n".join(
        f"processor\t: {number}\nFeatures\t: asimd\nCPU implementer\t: 0x41\nCPU part\t: {parts[capacity]}\n"
        for number, capacity in enumerate(capacities)
    )
    assert performance_of(files, imagine) == (4, 8)
    assert performance_of(files, imagine, allowed="2-5") == (2, 4)
    assert performance_of(files, imagine, allowed="0-3") == (None, 4)


def performance_of(
    files: dict[str, str], imagine: Imagine, allowed: str | None = None
) -> tuple[int | None, int | None]:
    """Return how many cores are fast, and how many there are, of those that a process may use."""
    status = {"/proc/self/status": f"Cpus_allowed_list:\t{allowed or '0-63'}\n"}
    machine = imagine({**files, **status, "/sys/devices/system/cpu/smt/active": "0\n"})
    info, processors = read_cpuinfo(machine), read_processors(machine)
    assert info is not None
    assert processors is not None
    fastest = read_fastest(machine, info, parse_cpu_list(allowed) if allowed else frozenset(info.cores))
    assert fastest is not None
    cpu = describe_cpu(info, processors, Limits(), fastest)
    return cpu.cores_performance, cpu.cores_physical


def test_two_sockets(imagine: Imagine) -> None:
    files, _ = tree("numa_2socket.txt")
    machine = imagine(files)
    assert read_numa_nodes(machine) == 2
    lists = [parse_cpu_list(machine.read_text(f"/sys/devices/system/node/node{node}/cpulist") or "") for node in (0, 1)]
    assert lists[0] | lists[1] == frozenset(range(128))
    assert not lists[0] & lists[1]
