from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provision.domain.facts import Outcome
from provision.domain.gpu import Gpu, GpuMemory, GpuState, Obstacle
from provision.facts.gpu.intel import LEVEL_ZERO, SYCL_LS, SyclDevice, parse_sycl_ls
from provision.host.machine import Access, CommandResult, Machine
from tests.standin.gpu_samples import pci_files, read_intel, sample, sysfs

Imagine = Callable[..., Machine]

A770, B580, UHD_630 = (sysfs(f"intel/{name}.sysfs") for name in ("arc_a770_i915", "arc_b580_xe", "uhd630_i915"))
NODE = {"/dev/dri/renderD128": ""}
LIBRARIES = {f"/usr/lib/x86_64-linux-gnu/{name}": "" for name in LEVEL_ZERO}
ARC = {**pci_files(B580), **NODE}
LISTED = CommandResult(0, sample("intel/sycl_ls_arc.txt"))


def read_one(machine: Machine) -> Gpu:
    (gpu,), _ = read_intel(machine)
    return gpu


@pytest.mark.parametrize(
    ("tree", "name", "family", "memory"),
    [
        (B580, "Intel Arc B580", "battlemage", GpuMemory("dedicated", 12 << 30)),
        (A770, "Intel Arc A770", "alchemist", GpuMemory("dedicated", 17079205888)),
        (UHD_630, "Intel UHD Graphics 630", "gen9", GpuMemory("unified", pool="host")),
        ({**A770, "drm/card0/lmem_total_bytes": ""}, "Intel Arc A770", "alchemist", GpuMemory("dedicated")),
        ({**A770, "device": "0xfffe"}, None, None, GpuMemory("dedicated", 17079205888)),
        ({**UHD_630, "device": "0xfffe"}, None, None, GpuMemory()),
    ],
    ids=["xe", "i915", "processor", "i915 that does not tell", "unknown id", "unknown id without memory"],
)
def test_a_card_is_known_by_its_memory_else_by_its_id(
    tree: Mapping[str, str], name: str | None, family: str | None, memory: GpuMemory, imagine: Imagine
) -> None:
    files = {path: text for path, text in pci_files(tree).items() if text != "\n"}
    gpu = read_one(imagine({**files, **NODE}))
    integrated = {"dedicated": False, "unified": True, "unknown": None}[memory.kind]
    assert (gpu.name, gpu.arch, gpu.memory, gpu.integrated) == (name, family, memory, integrated)
    assert (gpu.vendor, gpu.pci, gpu.driver_name) == ("intel", tree["pci"], tree["driver"])


def test_the_address_does_not_make_a_gpu_integrated(imagine: Imagine) -> None:
    gpu = read_one(imagine({**pci_files({**B580, "pci": "0000:00:02.0"}), **NODE}))
    assert gpu.integrated is False


def test_the_memory_of_all_tiles_counts(imagine: Imagine) -> None:
    tree = {**B580, "device": "0x0bd5", "tile1/physical_vram_size_bytes": "12884901888"}
    gpu = read_one(imagine({**pci_files(tree), **NODE}))
    assert (gpu.name, gpu.memory.total_bytes) == ("Intel Data Center GPU Max 1550", 24 << 30)


@pytest.mark.parametrize(
    ("driver", "state", "obstacle"),
    [
        ("", GpuState.PRESENT, Obstacle.NO_DRIVER),
        ("vfio-pci", GpuState.PRESENT, Obstacle.PASSED_THROUGH),
        ("xen-pciback", GpuState.PRESENT, Obstacle.PASSED_THROUGH),
        ("gma500_gfx", GpuState.DRIVER, Obstacle.LEGACY_DRIVER),
    ],
)
def test_drivers_that_cannot_compute(driver: str, state: GpuState, obstacle: Obstacle, imagine: Imagine) -> None:
    gpu = read_one(imagine({**pci_files({**B580, "driver": driver}), **NODE, **LIBRARIES}))
    assert (gpu.state, gpu.obstacle, gpu.apis, gpu.integrated) == (state, obstacle, (), False)


@pytest.mark.parametrize("minor", [128, None], ids=["not in the container", "not made"])
def test_without_a_render_node(minor: int | None, imagine: Imagine) -> None:
    gpu = read_one(imagine({**pci_files(B580, minor), **LIBRARIES}))
    assert (gpu.state, gpu.obstacle, gpu.apis) == (GpuState.DRIVER, Obstacle.NO_DEVICE_NODES, ())


def test_a_render_node_of_another_group(imagine: Imagine) -> None:
    access = {"/dev/dri/renderD128": Access(allowed=False, group="render")}
    gpu = read_one(imagine({**ARC, **LIBRARIES}, access=access))
    assert (gpu.obstacle, gpu.access_group, gpu.detail) == (Obstacle.NO_PERMISSION, "render", "/dev/dri/renderD128")


FILTERED = {"ONEAPI_DEVICE_SELECTOR": "opencl:cpu"}
CPU_ONLY = CommandResult(0, sample("intel/sycl_ls_arc.txt").splitlines()[1])


@pytest.mark.parametrize(
    ("libraries", "answer", "env", "obstacle"),
    [
        (LIBRARIES, None, {}, None),
        (LIBRARIES, LISTED, {}, None),
        ({}, LISTED, {}, None),
        ({}, None, {}, Obstacle.NO_LIBRARY),
        (dict([next(iter(LIBRARIES.items()))]), None, {}, Obstacle.NO_LIBRARY),
        (LIBRARIES, CPU_ONLY, {}, Obstacle.NO_API),
        (LIBRARIES, CommandResult(0), {}, Obstacle.NO_API),
        (LIBRARIES, CPU_ONLY, FILTERED, None),
        (LIBRARIES, CommandResult(124, "", "no answer within 10 s"), {}, None),
        (LIBRARIES, CommandResult(-6), {}, None),
    ],
    ids=[
        "libraries alone",
        "both agree",
        "oneAPI's own loader",
        "nothing installed",
        "no driver for the loader",
        "listed for the processor only",
        "an empty list",
        "filtered by the user",
        "hanging",
        "crashing",
    ],
)
def test_level_zero_takes_libraries_or_an_answer(
    libraries: dict[str, str],
    answer: CommandResult | None,
    env: dict[str, str],
    obstacle: Obstacle | None,
    imagine: Imagine,
) -> None:
    results = {} if answer is None else {SYCL_LS: answer}
    gpu = read_one(imagine({**ARC, **libraries}, env=env, results=results))
    usable = (GpuState.USABLE, ("level-zero",), None)
    assert (gpu.state, gpu.apis, gpu.obstacle) == (usable if obstacle is None else (GpuState.DRIVER, (), obstacle))


@pytest.mark.parametrize(
    ("answer", "env", "masked"),
    [
        (LISTED, {}, False),
        (LISTED, FILTERED, False),
        (CPU_ONLY, FILTERED, True),
        (CPU_ONLY, {"ZE_AFFINITY_MASK": "9"}, True),
        (CPU_ONLY, {"SYCL_DEVICE_FILTER": "cpu"}, True),
        (LISTED, {"ONEAPI_DEVICE_SELECTOR": ""}, False),
        (None, FILTERED, None),
        (CommandResult(124), FILTERED, None),
    ],
)
def test_what_a_filter_leaves_is_seen_in_the_list(
    answer: CommandResult | None, env: dict[str, str], masked: bool | None, imagine: Imagine
) -> None:
    results = {} if answer is None else {SYCL_LS: answer}
    gpu = read_one(imagine({**ARC, **LIBRARIES}, env=env, results=results))
    assert (gpu.apis, gpu.masked) == (("level-zero",), masked)


def test_a_card_without_level_zero_is_not_hidden_from_it(imagine: Imagine) -> None:
    gpu = read_one(imagine(ARC, env=FILTERED, results={SYCL_LS: CPU_ONLY}))
    assert (gpu.obstacle, gpu.masked) == (Obstacle.NO_LIBRARY, False)


def test_of_two_cards_one_is_listed_and_nobody_knows_which(imagine: Imagine) -> None:
    files = {**ARC, **pci_files({**A770, "pci": "0000:04:00.0"}, 129), "/dev/dri/renderD129": ""}
    for libraries, usable in (({}, [False, False]), (LIBRARIES, [True, True])):
        for env, masked in (({}, False), (FILTERED, None)):
            gpus, _ = read_intel(imagine({**files, **libraries}, env=env, results={SYCL_LS: LISTED}))
            assert [gpu.state is GpuState.USABLE for gpu in gpus] == usable
            assert [gpu.masked for gpu in gpus] == [masked if each else False for each in usable]


def test_a_processor_s_gpu_is_not_offered_level_zero(imagine: Imagine) -> None:
    gpus, probes = read_intel(imagine({**pci_files(UHD_630), **NODE, **LIBRARIES}, results={SYCL_LS: LISTED}))
    assert [(gpu.state, gpu.obstacle, gpu.apis) for gpu in gpus] == [(GpuState.DRIVER, Obstacle.NO_API, ())]
    assert SYCL_LS[0] not in [probe.name for probe in probes]


def test_a_neural_processor_is_no_gpu(imagine: Imagine) -> None:
    npu = {"pci": "0000:00:0b.0", "vendor": "0x8086", "device": "0x7d1d", "class": "0x120000", "driver": "intel_vpu"}
    assert read_intel(imagine(pci_files(npu, None))) == ((), [])


def test_nonsense_in_the_memory_fails_its_probe_alone(imagine: Imagine) -> None:
    gpus, probes = read_intel(imagine({**pci_files({**B580, "tile0/physical_vram_size_bytes": "much"}), **NODE}))
    assert [(gpu.integrated, gpu.memory) for gpu in gpus] == [(False, GpuMemory("dedicated"))]
    assert [probe.name for probe in probes if probe.outcome is Outcome.FAILED] == ["xe 0000:03:00.0"]


def test_what_sycl_ls_lists() -> None:
    assert [(device.backend, device.kind) for device in parse_sycl_ls(LISTED.stdout)] == [
        ("level_zero", "gpu"),
        ("opencl", "cpu"),
        ("opencl", "gpu"),
    ]
    assert parse_sycl_ls("[ext_oneapi_level_zero:gpu:0] Intel(R) Level-Zero, Intel(R) Arc(TM) A770 Graphics 1.3\n") == (
        SyclDevice("level_zero", "gpu", "Intel(R) Arc(TM) A770 Graphics 1.3"),
    )
    assert parse_sycl_ls("\n") == ()


@given(st.text() | st.lists(st.sampled_from(["[level_zero:gpu]", "[opencl:cpu:1] x, y", "\n", "<html>"])).map("".join))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        devices = parse_sycl_ls(text)
    except ValueError:
        return
    assert bool(devices) is bool(text.strip())
