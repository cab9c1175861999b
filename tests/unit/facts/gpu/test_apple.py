from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provision.domain.facts import Facts, Memory, OperatingSystem, Outcome
from provision.domain.gpu import Gpu, GpuMemory, GpuState, Obstacle
from provision.facts import darwin
from provision.facts.detect import detect
from provision.facts.gpu.apple import (
    DISPLAYS,
    METAL,
    NO_DEVICE,
    MetalDevice,
    parse_displays,
    parse_metal,
    read_gpus,
    working_set,
)
from provision.facts.probing import Recorder
from provision.host.machine import PROBES, CommandResult, Machine, Platform

Imagine = Callable[..., Machine]

SAMPLES = Path(__file__).parents[3] / "samples" / "apple"
MIB, GIB = 1 << 20, 1 << 30
METAL_M1 = {"name": "Apple M1", "working_set_bytes": 5726633984, "unified": True}


def sample(name: str) -> str:
    lines = (SAMPLES / name).read_text(encoding="utf-8").splitlines(keepends=True)
    return "".join(line for line in lines if not line.startswith("#"))


def mac(imagine: Imagine, sysctl: str, files: dict[str, str] | None = None, **results: CommandResult) -> Machine:
    """``sysctl`` is a sample that holds the values of both listings."""
    found = {
        darwin.SYSCTL.argv: CommandResult(0, sample(sysctl)),
        darwin.VM_STAT.argv: CommandResult(0, sample("vm_stat_m1.txt")),
        **{{"metal": METAL, "displays": DISPLAYS, "optional": darwin.OPTIONAL.argv}[k]: v for k, v in results.items()},
    }
    return imagine(files, platform=Platform("Darwin", "arm64", "24.6.0"), results=found)


def gpus(machine: Machine, sysctl: str, **so_far: object) -> tuple[tuple[Gpu, ...], Recorder]:
    values, record = darwin.parse_sysctl(sample(sysctl)), Recorder()
    available = darwin.parse_vm_stat(sample("vm_stat_m1.txt"))
    memory = darwin.describe_memory(values, available)
    facts = Facts(**{"memory": memory, **so_far})  # type: ignore[arg-type]
    return read_gpus(machine, record, facts, values), record


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("sysctl_m1_8gb.txt", ("Apple M1", 8, 4, False)),
        ("sysctl_m4max_128gb.txt", ("Apple M4 Max", 16, 12, False)),
        ("sysctl_intel_mac_2019.txt", ("Intel(R) Core(TM) i9-9880H CPU @ 2.30GHz", 8, None, False)),
    ],
)
def test_processors(name: str, expected: tuple[str, int, int | None, bool | None]) -> None:
    values = darwin.parse_sysctl(sample(name))
    cpu = darwin.describe_cpu(values)
    assert (cpu.model, cpu.cores_physical, cpu.cores_performance, darwin.is_translated(values)) == expected
    assert darwin.virtual_machine(values) is None
    assert {"asimddp", "avx2"} & set(cpu.isa)


def test_rosetta_and_virtual_machines(imagine: Imagine) -> None:
    text = "kern.hv_vmm_present: 1\nsysctl.proc_translated: 1\n"
    brew = {"/opt/homebrew/bin/brew": ""}
    facts = detect(mac(imagine, "sysctl_m1_8gb.txt", brew, optional=CommandResult(1, text, "unknown oid")), "/p")
    assert (facts.os.translated, facts.os.vm, facts.os.package_manager) == (True, "apple-virtualization", "brew")
    assert facts.cpu.cores_performance == 4
    assert detect(mac(imagine, "sysctl_m1_8gb.txt"), "/p").os.package_manager is None
    assert darwin.is_translated({"machdep.cpu.brand_string": "VirtualApple @ 2.50GHz"}) is True
    assert darwin.is_translated({"machdep.cpu.brand_string": "Apple M1"}) is None
    assert darwin.virtual_machine({"kern.hv_vmm_present": "1"}) == "vm"


def test_metal_says_what_the_gpu_may_use(imagine: Imagine) -> None:
    machine = mac(imagine, "sysctl_m1_8gb.txt", metal=CommandResult(0, json.dumps(METAL_M1)))
    (gpu,), record = gpus(machine, "sysctl_m1_8gb.txt")
    assert (gpu.vendor, gpu.name, gpu.arch, gpu.integrated) == ("apple", "Apple M1", "m1", True)
    assert (gpu.state, gpu.apis, gpu.sources) == (GpuState.USABLE, ("metal",), ("sysctl", "metal"))
    assert gpu.memory == GpuMemory("unified", 5726633984, (20311 + 151873 + 4921) * 16384, "working-set")
    assert [probe.outcome for probe in record.probes] == [Outcome.OK]


def test_free_is_never_more_than_the_working_set(imagine: Imagine) -> None:
    machine = mac(imagine, "sysctl_m1_8gb.txt", metal=CommandResult(0, json.dumps(METAL_M1)))
    (gpu,), _ = gpus(machine, "sysctl_m1_8gb.txt", memory=Memory(8 * GIB, 7 * GIB))
    assert gpu.memory.free_bytes == METAL_M1["working_set_bytes"]


@pytest.mark.parametrize(
    ("result", "outcome"),
    [
        (CommandResult(127, "", "not found"), Outcome.MISSING),
        (CommandResult(2, "", "Python is too old"), Outcome.FAILED),
        (CommandResult(0, '{"error": "no such library"}'), Outcome.FAILED),
    ],
)
def test_where_nobody_could_ask_the_rule_of_thumb_counts(
    result: CommandResult, outcome: Outcome, imagine: Imagine
) -> None:
    (gpu,), record = gpus(mac(imagine, "sysctl_m4max_128gb.txt", metal=result), "sysctl_m4max_128gb.txt")
    assert [probe.outcome for probe in record.probes] == [outcome]
    assert (gpu.name, gpu.arch, gpu.state) == ("Apple M4 Max", "m4", GpuState.USABLE)
    assert (gpu.memory.total_bytes, gpu.sources) == (96 * GIB, ("sysctl", "formula"))


@pytest.mark.parametrize(
    ("result", "obstacle", "told"),
    [
        (CommandResult(-11, "", ""), Obstacle.CRASHED, "signal 11"),
        (CommandResult(124, "", "no answer within 10 s"), Obstacle.TIMEOUT, "in time"),
    ],
)
@pytest.mark.parametrize("vm", [None, "apple-virtualization"])
def test_metal_that_hangs_or_crashes_is_of_no_use(
    result: CommandResult, obstacle: Obstacle, told: str, vm: str | None, imagine: Imagine
) -> None:
    machine = mac(imagine, "sysctl_m4max_128gb.txt", metal=result)
    (gpu,), record = gpus(machine, "sysctl_m4max_128gb.txt", os=OperatingSystem(vm=vm))
    assert (gpu.name, gpu.state, gpu.apis, gpu.obstacle) == ("Apple M4 Max", GpuState.DRIVER, (), obstacle)
    assert told in (gpu.detail or "")
    assert (gpu.memory, gpu.sources) == (GpuMemory(), ("sysctl",))
    assert [probe.outcome for probe in record.probes] == [Outcome.FAILED]


def test_a_limit_that_the_owner_set_is_told(imagine: Imagine) -> None:
    machine = mac(imagine, "sysctl_m1_8gb.txt", metal=CommandResult(0, json.dumps(METAL_M1)))
    values = {**darwin.parse_sysctl(sample("sysctl_m1_8gb.txt")), "iogpu.wired_limit_mb": "7000"}
    (gpu,) = read_gpus(machine, Recorder(), Facts(), values)
    assert gpu.sources == ("sysctl", "metal", "iogpu.wired_limit_mb")


def test_a_virtual_mac_may_have_no_gpu(imagine: Imagine) -> None:
    guest = OperatingSystem(vm="apple-virtualization")
    none = mac(imagine, "sysctl_m1_8gb.txt", metal=CommandResult(0, json.dumps({"error": NO_DEVICE})))
    for machine, system in ((none, guest), (none, OperatingSystem()), (mac(imagine, "sysctl_m1_8gb.txt"), guest)):
        (gpu,), _ = gpus(machine, "sysctl_m1_8gb.txt", os=system)
        assert (gpu.state, gpu.apis, gpu.obstacle) == (GpuState.DRIVER, (), Obstacle.NO_API)
        assert gpu.memory.total_bytes is None


def observed() -> list[tuple[int, float, bool, str]]:
    scale = {"MiB": 1.0, "MB": 1.0, "GiB": 1024.0}  # the log that says MB divided by 2^20
    found = []
    for line in sample("working_set_observed.tsv").splitlines():
        ram, told, _ = line.split("\t")
        size, unit = told.split()[:2]
        found.append((int(ram), float(size) * scale[unit], "84 %" in told, told))
    return found


@pytest.mark.parametrize(("ram_gib", "expected_mib", "newer", "told"), observed(), ids=lambda value: str(value)[:40])
def test_the_rule_of_thumb_against_what_was_observed(ram_gib: int, expected_mib: float, newer: bool, told: str) -> None:
    limit = {"iogpu.wired_limit_mb": told.rpartition("=")[2] if "wired_limit" in told else "0"}
    mib = (working_set(ram_gib * GIB, limit) or 0) / MIB
    if newer:
        assert mib < expected_mib
    else:
        assert mib == pytest.approx(expected_mib, abs=1)


def test_the_rule_of_thumb_at_its_edges() -> None:
    assert working_set(36 * GIB, {}) == 27648 * MIB  # 28991.03 MB in llama.cpp's log of a 36 GB M4 Max
    assert working_set(18 * GIB, {}) == 12 * GIB
    assert working_set(None, {}) is None
    assert working_set(8 * GIB, {"iogpu.wired_limit_mb": "999999"}) == 8 * GIB
    assert working_set(8 * GIB, {"iogpu.wired_limit_mb": "9" * 50}) == 8 * GIB * 2 // 3


def test_an_intel_mac_with_two_gpus(imagine: Imagine) -> None:
    result = CommandResult(0, sample("sp_displays_intel_mac_dual_gpu.json"))
    machine = mac(imagine, "sysctl_intel_mac_2019.txt", displays=result)
    (intel, amd), record = gpus(machine, "sysctl_intel_mac_2019.txt")
    assert [probe.name for probe in record.probes] == ["displays"]
    assert (intel.vendor, intel.name, intel.integrated) == ("intel", "Intel UHD Graphics 630", True)
    assert intel.memory == GpuMemory("unified", 1536 * MIB, None, "host")
    assert (amd.vendor, amd.name, amd.integrated) == ("amd", "AMD Radeon Pro 5500M", False)
    assert (amd.memory, amd.device_id) == (GpuMemory("dedicated", 4 * GIB), "1002:7340")
    for gpu in (intel, amd):
        assert (gpu.state, gpu.apis, gpu.obstacle) == (GpuState.DRIVER, ("metal",), None)


@pytest.mark.parametrize(
    ("name", "chip"), [("sp_displays_m1.json", "Apple M1"), ("sp_displays_m4max.json", "Apple M4 Max")]
)
def test_displays_of_apple_s_processors(name: str, chip: str) -> None:
    (gpu,) = parse_displays(sample(name))
    assert (gpu.vendor, gpu.name, gpu.integrated, gpu.apis) == ("apple", chip, True, ("metal",))
    assert gpu.memory == GpuMemory("unified", None, None, "host")


def test_displays_of_older_systems() -> None:
    entry = {"_name": "x", "sppci_device_type": "spdisplays_gpu", "spdisplays_vendor": "ATI (0x1002)", "odd": 5}
    (gpu,) = parse_displays(json.dumps({"SPDisplaysDataType": [entry, {"sppci_device_type": "other"}]}))
    assert (gpu.vendor, gpu.name, gpu.apis, gpu.obstacle) == ("amd", "x", (), Obstacle.NO_API)


values = st.none() | st.booleans() | st.integers() | st.text(max_size=5)
documents = st.dictionaries(st.sampled_from(["name", "working_set_bytes", "unified", "error"]), values).map(json.dumps)


@given(st.text() | documents)
def test_any_answer_of_the_probe_is_understood_or_an_error(text: str) -> None:
    with suppress(ValueError):
        device = parse_metal(text).device
        assert device is None or device.working_set_bytes > 0


@given(
    st.text() | st.lists(st.dictionaries(st.text(), values)).map(lambda rows: json.dumps({"SPDisplaysDataType": rows}))
)
def test_any_list_of_displays_is_understood_or_an_error(text: str) -> None:
    with suppress(ValueError):
        assert isinstance(parse_displays(text), tuple)


FAKE = r"""
#include <stdint.h>
#include <string.h>
void *MTLCreateSystemDefaultDevice(void) { return (void *)0x7fff12345678; }
void *sel_registerName(const char *name) { return strdup(name); }
uint64_t objc_msgSend(void *self, const char *op) {
    if (self == (void *)0x7fff12345678 && !strcmp(op, "name")) return 0x7fff00000001;
    if (self == (void *)0x7fff00000001 && !strcmp(op, "UTF8String")) return (uint64_t)"Apple M4 Max";
    if (self == (void *)0x7fff12345678 && !strcmp(op, "recommendedMaxWorkingSetSize")) return 115448725504;
    return strcmp(op, "hasUnifiedMemory") ? 0 : 0xffffff01;
}
"""


def run_probe(library: Path | None) -> str:
    place = f"p.CORE_GRAPHICS = p.METAL = p.OBJECTIVE_C = {str(library)!r}; " if library else ""
    code = f"import sys; sys.path.insert(0, {str(PROBES)!r}); import metal as p; {place}p.main()"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def test_the_probe_sends_its_messages_as_the_runtime_takes_them(tmp_path: Path) -> None:
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler to build a stand-in for Apple's runtime with")
    source, library = tmp_path / "fake.c", tmp_path / "fake.so"
    source.write_text(FAKE)
    subprocess.run([compiler, "-shared", "-fPIC", "-o", str(library), str(source)], check=True)
    assert parse_metal(run_probe(library)).device == MetalDevice("Apple M4 Max", 115448725504, True)


def test_the_probe_tells_that_there_is_no_metal() -> None:
    if sys.platform == "darwin":
        pytest.skip("this is a Mac")
    with pytest.raises(ValueError, match="CoreGraphics"):
        parse_metal(run_probe(None))
