"""NVIDIA's GPUs that are not one card of one's own: partitioned, part of a processor, behind Windows, several."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from provision.domain.facts import Facts, Memory, OperatingSystem
from provision.domain.gpu import Gpu, GpuInstance, GpuMemory, GpuState, Obstacle
from provision.domain.units import MIB
from provision.facts.gpu import nvidia_smi, nvml, tegra
from provision.facts.gpu.nvidia import read_gpus
from provision.facts.gpu.nvidia_smi import FIELDS, query
from provision.facts.gpu.pci import NVIDIA, PciGpu
from provision.facts.probing import Recorder
from provision.host.machine import Access, CommandResult, Machine

Imagine = Callable[..., Machine]

SAMPLES = Path(__file__).parents[3] / "samples" / "nvidia"
HOST = Memory(122 << 30, 100 << 30)
FACTS = Facts(memory=HOST)
CONTAINER = Facts(os=OperatingSystem(container="docker"), memory=HOST)
WSL = Facts(os=OperatingSystem(wsl=2), memory=HOST)
HOST_MEMORY = GpuMemory("unified", 122 << 30, 100 << 30, "host")
CARD = PciGpu("0000:07:00.0", NVIDIA, 0x20B0, "nvidia")
SECOND = CARD._replace(address="0000:21:00.0")
A100: dict[str, Any] = {
    "name": "NVIDIA A100-SXM4-40GB",
    "uuid": "GPU-5c1f7e0d",
    "pci": "00000000:07:00.0",
    "compute_capability": [8, 0],
    "memory": {"total": 40 << 30, "free": 39 << 30},
    "mig": False,
    "instances": [],
    "unified": False,
}
PART = {
    "uuid": "MIG-c6d4f1ef",
    "name": "NVIDIA A100-SXM4-40GB MIG 3g.20gb",
    "memory": {"total": 20 << 30, "free": 19 << 30},
}
NO_LIBRARY = CommandResult(0, '{"error": 12, "message": "NVML Shared Library Not Found"}')
RELEASE = (SAMPLES / "etc_nv_tegra_release_r36.txt").read_text(encoding="utf-8")
JETSON = {
    tegra.RELEASE: RELEASE,
    tegra.COMPATIBLE: "nvidia,p3767-0005\0nvidia,tegra234\0",
    tegra.MODEL: "NVIDIA Jetson Orin Nano Developer Kit\0",
}


def sample(name: str) -> CommandResult:
    return CommandResult(0, (SAMPLES / name).read_text(encoding="utf-8"))


def answer(*devices: dict[str, Any], **more: Any) -> CommandResult:
    return CommandResult(0, json.dumps({"driver": "580.95.05", "cuda": 13000, "devices": devices, **more}))


def climb(machine: Machine, cards: Sequence[PciGpu] = (CARD,), facts: Facts = FACTS) -> tuple[Gpu, ...]:
    return read_gpus(machine, Recorder(), cards, facts)


def test_a_partitioned_card_has_instances_with_their_profiles(imagine: Imagine) -> None:
    (gpu,) = climb(imagine(results={nvml.ARGV: answer(A100 | {"mig": True, "instances": [PART]})}))
    memory = GpuMemory("dedicated", 20 << 30, 19 << 30)
    assert (gpu.state, gpu.partitioned, gpu.obstacle) == (GpuState.USABLE, True, None)
    assert gpu.instances == (GpuInstance("MIG-c6d4f1ef", "3g.20gb", memory),)


@pytest.mark.parametrize("then", [CommandResult(127), CommandResult(0, "<html>"), CommandResult(124)])
def test_a_partitioned_card_without_instances_cannot_be_used(imagine: Imagine, then: CommandResult) -> None:
    results = {nvml.ARGV: answer(A100 | {"mig": True}), nvidia_smi.XML_ARGV: then}
    (gpu,) = climb(imagine(results=results))
    assert (gpu.state, gpu.apis, gpu.obstacle) == (GpuState.DRIVER, (), Obstacle.NO_INSTANCE)
    assert (gpu.partitioned, gpu.name) == (True, "NVIDIA A100-SXM4-40GB")


@pytest.mark.parametrize(
    ("first", "sources"),
    [
        ({nvml.ARGV: answer(A100 | {"mig": True})}, ("pci", "nvml", "nvidia-smi")),
        ({nvml.ARGV: answer(A100 | {"mig": True, "pci": None, "uuid": None})}, ("pci", "nvml")),
        ({query(FIELDS): sample("query_a100_mig_enabled.csv")}, ("pci", "nvidia-smi")),
    ],
)
def test_instances_come_from_the_xml_where_nothing_else_lists_them(
    imagine: Imagine, first: dict[tuple[str, ...], CommandResult], sources: tuple[str, ...]
) -> None:
    results = {**first, nvidia_smi.XML_ARGV: sample("smi_qx_a100_mig.xml")}
    (gpu,) = climb(imagine(results=results))
    known = [] if sources == ("pci", "nvml") else [19968, 9984, 4864]
    assert [(part.memory.total_bytes or 0) // MIB for part in gpu.instances] == known


def test_the_xml_is_not_asked_for_a_whole_card(imagine: Imagine) -> None:
    results = {nvml.ARGV: NO_LIBRARY, query(FIELDS): sample("query_h200_driver580.csv")}
    record = Recorder()
    read_gpus(imagine(results=results), record, [CARD._replace(address="0000:00:06.0")], FACTS)
    assert [probe.name for probe in record.probes] == ["nvidia-module", "nvml", "nvidia-smi"]


@pytest.mark.parametrize(
    ("memory", "unified", "expected", "integrated"),
    [
        (None, True, HOST_MEMORY, True),  # GB10
        (A100["memory"], True, GpuMemory("dedicated", 40 << 30, 39 << 30), False),  # Grace Hopper
        (None, None, GpuMemory(), None),  # a question that failed
        (A100["memory"], None, GpuMemory("dedicated", 40 << 30, 39 << 30), False),
    ],
)
def test_whose_memory_a_gpu_works_in(
    imagine: Imagine, *, memory: Any, unified: bool | None, expected: GpuMemory, integrated: bool | None
) -> None:
    (gpu,) = climb(imagine(results={nvml.ARGV: answer(A100 | {"memory": memory, "unified": unified})}))
    assert (gpu.memory, gpu.integrated, gpu.state) == (expected, integrated, GpuState.USABLE)


def test_a_jetson_that_answers(imagine: Imagine) -> None:
    results = {nvml.ARGV: NO_LIBRARY, query(FIELDS): sample("query_jetson_orin_jp6.csv")}
    (gpu,) = climb(imagine(JETSON, results=results), cards=())
    assert gpu == Gpu(
        vendor="nvidia",
        name="Orin (nvgpu)",
        integrated=True,
        state=GpuState.USABLE,
        apis=("cuda",),
        memory=HOST_MEMORY,
        driver="540.4.0",
        driver_name="nvgpu",
        l4t="36.4.3",
        sources=("tegra", "nvidia-smi"),
    )


NODE, CUDA = {"/dev/nvhost-gpu": ""}, {"/usr/lib/aarch64-linux-gnu/tegra/libcuda.so.1.1": ""}


@pytest.mark.parametrize(
    ("files", "access", "state", "obstacle"),
    [
        ({**NODE, **CUDA}, {}, GpuState.USABLE, None),
        ({"/dev/nvgpu/igpu0/ctrl": "", **CUDA}, {}, GpuState.USABLE, None),
        (NODE, {}, GpuState.DRIVER, Obstacle.NO_LIBRARY),
        ({**NODE, **CUDA}, {"/dev/nvhost-gpu": Access(False, "video")}, GpuState.DRIVER, Obstacle.NO_PERMISSION),
        ({"/sys/module/nvgpu/": "", **CUDA}, {}, GpuState.DRIVER, Obstacle.NO_DEVICE_NODES),
        (CUDA, {}, GpuState.PRESENT, Obstacle.NO_DRIVER),
    ],
)
def test_a_jetson_from_before_nvml(
    imagine: Imagine, *, files: dict[str, str], access: Any, state: GpuState, obstacle: Obstacle | None
) -> None:
    (gpu,) = climb(imagine({**JETSON, **files}, access=access, results={nvml.ARGV: NO_LIBRARY}), cards=())
    assert (gpu.state, gpu.obstacle, gpu.apis) == (state, obstacle, ("cuda",) if obstacle is None else ())
    assert (gpu.name, gpu.l4t, gpu.memory) == ("NVIDIA Jetson Orin Nano Developer Kit", "36.4.3", HOST_MEMORY)
    assert gpu.driver_name == (None if state is GpuState.PRESENT else "nvgpu")


@pytest.mark.parametrize("cards", [(), (CARD,)])
def test_thor_has_the_driver_of_cards(imagine: Imagine, cards: tuple[PciGpu, ...]) -> None:
    thor = A100 | {"name": "NVIDIA Thor", "memory": None, "unified": True, "compute_capability": [11, 0]}
    files = {
        tegra.RELEASE: "# R38 (release), REVISION: 2.0, GCID: 41844464, BOARD: generic\n",
        tegra.COMPATIBLE: "nvidia,p3834-0008\0nvidia,tegra264\0",
        "/sys/module/nvidia/version": "580.00\n",
    }
    (gpu,) = climb(imagine(files, results={nvml.ARGV: answer(thor)}), cards=cards)
    assert (gpu.driver_name, gpu.l4t, gpu.arch, gpu.memory) == ("nvidia", "38.2.0", "11.0", HOST_MEMORY)
    assert (gpu.name, gpu.pci, gpu.integrated) == ("NVIDIA Thor", "0000:07:00.0", True)


def test_a_card_in_a_jetson_is_no_part_of_its_processor(imagine: Imagine) -> None:
    (gpu,) = climb(imagine(JETSON, results={nvml.ARGV: answer(A100)}))
    assert (gpu.integrated, gpu.l4t, gpu.driver_name, gpu.memory.kind) == (False, None, "nvidia", "dedicated")


def test_a_card_behind_windows(imagine: Imagine) -> None:
    files = {"/dev/dxg": ""}
    results = {nvml.ARGV: NO_LIBRARY, query(FIELDS): sample("query_rtx3080_wsl2.csv")}
    (gpu,) = climb(imagine(files, results=results), cards=(), facts=WSL)
    assert (gpu.name, gpu.pci, gpu.state) == ("NVIDIA GeForce RTX 3080", "0000:0a:00.0", GpuState.USABLE)
    assert (gpu.driver, gpu.driver_name, gpu.memory.kind) == ("581.42", "nvidia", "dedicated")
    assert climb(imagine(results=results), cards=(), facts=WSL) == ()


def test_windows_library_is_the_sign_of_a_card_that_does_not_answer(imagine: Imagine) -> None:
    blocked = CommandResult(0, '{"error": 17, "message": "The operating system has blocked the request."}')
    files = {"/dev/dxg": "", "/usr/lib/wsl/lib/libnvidia-ml.so.1": ""}
    (gpu,) = climb(imagine(files, results={nvml.ARGV: blocked}), cards=(), facts=WSL)
    assert (gpu.state, gpu.obstacle, gpu.sources) == (GpuState.DRIVER, Obstacle.UNKNOWN, ("wsl",))
    assert gpu.detail == "The operating system has blocked the request."
    assert climb(imagine({"/dev/dxg": ""}, results={nvml.ARGV: NO_LIBRARY}), cards=(), facts=WSL) == ()
