"""NVIDIA's GPUs in every situation that is known, from the bus to the facts."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from provision.domain.facts import Facts, Memory, OperatingSystem, Outcome
from provision.domain.gpu import Gpu, GpuMemory, GpuState, Obstacle
from provision.domain.units import MIB
from provision.facts.gpu import nvml
from provision.facts.gpu.nvidia import read_gpus
from provision.facts.gpu.nvidia_smi import BASIC_FIELDS, FIELDS, query
from provision.facts.gpu.pci import AMD, NVIDIA, PciGpu
from provision.facts.probing import Recorder
from provision.host.machine import Access, CommandResult, Machine

Imagine = Callable[..., Machine]

SAMPLES = Path(__file__).parents[3] / "samples" / "nvidia"
FACTS = Facts(os=OperatingSystem(arch="x86_64"), memory=Memory(128 << 30, 100 << 30))
CONTAINER = Facts(os=OperatingSystem(arch="x86_64", container="docker"), memory=FACTS.memory)
CARD = PciGpu("0000:01:00.0", NVIDIA, 0x2684, "nvidia")
SECOND = PciGpu("0000:21:00.0", NVIDIA, 0x2204, "nvidia")
NODES = {"/dev/nvidiactl": "", "/dev/nvidia0": ""}
UVM = {"/dev/nvidia-uvm": ""}
LOADED = {"/sys/module/nvidia/version": "570.133.07\n", **NODES}
INFORMATION = "/proc/driver/nvidia/gpus/0000:01:00.0/information"
RTX_4090: dict[str, Any] = {
    "name": "NVIDIA GeForce RTX 4090",
    "uuid": "GPU-6f3c1a52",
    "pci": "00000000:01:00.0",
    "compute_capability": [8, 9],
    "memory": {"total": 24 << 30, "free": 23 << 30},
    "mig": None,
    "instances": [],
    "unified": False,
}


def sample(name: str) -> str:
    return (SAMPLES / name).read_text(encoding="utf-8")


def answer(*devices: dict[str, Any], **more: Any) -> CommandResult:
    return CommandResult(0, json.dumps({"driver": "570.133.07", "cuda": 12080, "devices": devices, **more}))


def refusal(code: int, message: str = "") -> CommandResult:
    return CommandResult(0, json.dumps({"error": code, "message": message}))


def smi(name: str) -> CommandResult:
    note, _, output = sample(f"error_{name}.txt").partition("\n")
    return CommandResult(int(note.split()[3]), output)


def climb(
    machine: Machine, cards: Sequence[PciGpu] = (CARD,), facts: Facts = FACTS
) -> tuple[tuple[Gpu, ...], dict[str, Outcome]]:
    record = Recorder()
    gpus = read_gpus(machine, record, cards, facts)
    return gpus, {probe.name: probe.outcome for probe in record.probes}


def test_a_card_that_works(imagine: Imagine) -> None:
    (gpu,), outcomes = climb(imagine({**LOADED, **UVM}, results={nvml.ARGV: answer(RTX_4090)}))
    assert gpu == Gpu(
        vendor="nvidia",
        name="NVIDIA GeForce RTX 4090",
        pci="0000:01:00.0",
        arch="8.9",
        integrated=False,
        state=GpuState.USABLE,
        apis=("cuda",),
        memory=GpuMemory("dedicated", 24 << 30, 23 << 30),
        driver="570.133.07",
        driver_name="nvidia",
        device_id="10de:2684",
        uuid="GPU-6f3c1a52",
        cuda="12.8",
        sources=("pci", "nvml"),
        uvm=True,
    )
    assert outcomes == {"nvidia-module": Outcome.OK, "nvml": Outcome.OK}


def test_a_driver_without_its_node_of_unified_memory_is_told(imagine: Imagine) -> None:
    (gpu,), _ = climb(imagine(LOADED, results={nvml.ARGV: answer(RTX_4090)}))
    assert (gpu.state, gpu.uvm) == (GpuState.USABLE, False)
    (gpu,), _ = climb(imagine(), [CARD._replace(driver=None)])
    assert gpu.uvm is None


def test_no_program_runs_without_a_driver_and_cards_of_others_are_left_alone() -> None:
    class Silent:
        env: Mapping[str, str] = {}

        def __getattr__(self, name: str) -> Any:
            assert name != "run"
            return lambda _path: () if name == "list_dir" else None

    machine: Any = Silent()
    assert climb(machine, [PciGpu("0000:03:00.0", AMD, 0x744C, "amdgpu")])[0] == ()
    (gpu,), _ = climb(machine, [CARD._replace(driver=None)])
    assert (gpu.state, gpu.obstacle, gpu.sources) == (GpuState.PRESENT, Obstacle.NO_DRIVER, ("pci",))


@pytest.mark.parametrize(
    ("driver", "files", "facts", "state", "obstacle"),
    [
        (None, {}, FACTS, GpuState.PRESENT, Obstacle.NO_DRIVER),
        (None, {"/usr/bin/nvidia-smi": ""}, FACTS, GpuState.PRESENT, Obstacle.NOT_LOADED),
        (None, LOADED, FACTS, GpuState.PRESENT, Obstacle.NO_DRIVER),
        (None, {"/proc/driver/nvidia/version": ""}, CONTAINER, GpuState.PRESENT, Obstacle.NO_DRIVER),
        (None, {"/sys/module/nvidia/version": "570.133.07"}, CONTAINER, GpuState.DRIVER, Obstacle.NO_DEVICE_NODES),
        ("nouveau", {}, FACTS, GpuState.DRIVER, Obstacle.NOUVEAU),
        ("nova_core", {}, FACTS, GpuState.DRIVER, Obstacle.NOUVEAU),
        ("NovaCore", {}, FACTS, GpuState.DRIVER, Obstacle.NOUVEAU),
        ("vfio-pci", LOADED, FACTS, GpuState.PRESENT, Obstacle.PASSED_THROUGH),
        ("nvgrace-gpu-vfio-pci", {}, FACTS, GpuState.PRESENT, Obstacle.PASSED_THROUGH),
        ("nvidiafb", {}, FACTS, GpuState.PRESENT, Obstacle.NO_DRIVER),
    ],
)
def test_a_card_with_another_driver_or_none(
    imagine: Imagine, *, driver: str | None, files: dict[str, str], facts: Facts, state: GpuState, obstacle: Obstacle
) -> None:
    (gpu,), _ = climb(imagine(files), [CARD._replace(driver=driver)], facts)
    assert (gpu.state, gpu.obstacle, gpu.driver_name, gpu.apis) == (state, obstacle, driver, ())


HANGS, DIES = CommandResult(124, "", "no answer within 15 s"), CommandResult(-11)


@pytest.mark.parametrize(
    ("asked", "then", "files", "obstacle", "detail"),
    [
        (refusal(18), smi("driver_library_mismatch"), LOADED, Obstacle.LIBRARY_MISMATCH, "570.133.07"),
        (refusal(18), smi("driver_library_mismatch"), LOADED, Obstacle.LIBRARY_MISMATCH, "the library is 570.133"),
        (refusal(12), smi("driver_library_mismatch"), LOADED, Obstacle.LIBRARY_MISMATCH, "570.133"),
        (refusal(9, "Driver Not Loaded"), smi("no_driver_comm"), NODES, Obstacle.NOT_LOADED, "Driver Not Loaded"),
        (CommandResult(127), smi("no_driver_comm"), NODES, Obstacle.NOT_LOADED, "communicate"),
        (refusal(9), smi("no_driver_comm"), {}, Obstacle.NO_DEVICE_NODES, "/dev/nvidiactl"),
        (refusal(12), CommandResult(127), {}, Obstacle.NO_DEVICE_NODES, "/dev/nvidiactl"),
        (refusal(12, "Not Found"), CommandResult(127), LOADED, Obstacle.NO_LIBRARY, "Not Found"),
        (CommandResult(127), CommandResult(127), LOADED, Obstacle.UNKNOWN, "could not be asked"),
        (CommandResult(127), CommandResult(127), {}, Obstacle.NO_DEVICE_NODES, "/dev/nvidiactl"),
        (refusal(999, "Unknown Error"), smi("container_lost_nvml"), LOADED, Obstacle.LOST, "Unknown Error"),
        (refusal(12), smi("container_lost_nvml"), {}, Obstacle.LOST, "Unknown Error"),
        (refusal(15, "GPU is lost"), CommandResult(15, "GPU is lost"), LOADED, Obstacle.LOST, "lost"),
        (refusal(4), CommandResult(4), LOADED, Obstacle.NO_PERMISSION, None),
        (refusal(6), smi("no_devices"), LOADED, Obstacle.UNKNOWN, None),
        (HANGS, CommandResult(0, "never asked"), LOADED, Obstacle.TIMEOUT, "15 s"),
        (HANGS, CommandResult(0, "never asked"), {}, Obstacle.TIMEOUT, "15 s"),
        (DIES, CommandResult(127), LOADED, Obstacle.CRASHED, "signal 11"),
        (DIES, DIES, {}, Obstacle.CRASHED, "signal 11"),
        (DIES, CommandResult(1, "<html>"), LOADED, Obstacle.CRASHED, "signal 11"),
        (DIES, smi("no_driver_comm"), LOADED, Obstacle.NOT_LOADED, "communicate"),
        (CommandResult(0, "<html>"), CommandResult(127), LOADED, Obstacle.UNKNOWN, "libnvidia-ml"),
        (CommandResult(0, "<html>"), CommandResult(0, "<html>"), LOADED, Obstacle.UNKNOWN, "libnvidia-ml"),
        (CommandResult(1, "", "No module named pynvml"), HANGS, LOADED, Obstacle.TIMEOUT, "15 s"),
    ],
)
def test_a_driver_whose_library_does_not_answer(
    imagine: Imagine,
    *,
    asked: CommandResult,
    then: CommandResult,
    files: dict[str, str],
    obstacle: Obstacle,
    detail: str | None,
) -> None:
    machine = imagine(files, results={nvml.ARGV: asked, query(FIELDS): then})
    (gpu,), outcomes = climb(machine)
    assert (gpu.state, gpu.obstacle, gpu.apis) == (GpuState.DRIVER, obstacle, ())
    assert (detail or "") in (gpu.detail or "")
    assert outcomes["nvml"] in (Outcome.FAILED, Outcome.MISSING)


def test_a_misfit_tells_both_versions_in_full_where_the_library_has_its_own_in_its_name(imagine: Imagine) -> None:
    files = {**LOADED, "/usr/lib/x86_64-linux-gnu/libnvidia-ml.so.1": "libnvidia-ml.so.570.169"}
    machine = imagine(files, results={nvml.ARGV: refusal(18), query(FIELDS): smi("driver_library_mismatch")})
    (gpu,), _ = climb(machine)
    assert gpu.detail == "the kernel runs 570.133.07, the library is 570.169"
    assert gpu.driver == "570.133.07"


def test_a_user_who_may_not_open_the_device_learns_whose_it_is(imagine: Imagine) -> None:
    access = {"/dev/nvidiactl": Access(allowed=False, group="video")}
    (gpu,), _ = climb(imagine(LOADED, access=access, results={nvml.ARGV: refusal(999, "Unknown Error")}))
    assert (gpu.obstacle, gpu.access_group, gpu.detail) == (Obstacle.NO_PERMISSION, "video", "/dev/nvidiactl")


def test_a_library_that_hung_is_not_asked_again_by_another_way(imagine: Imagine) -> None:
    access = {"/dev/nvidiactl": Access(allowed=False, group="video")}
    results = {nvml.ARGV: HANGS, query(FIELDS): CommandResult(0, sample("query_rtx4090_driver570.csv"))}
    (gpu,), outcomes = climb(imagine(LOADED, access=access, results=results))
    assert (gpu.obstacle, gpu.detail) == (Obstacle.TIMEOUT, "NVML: no answer within 15 s")
    assert outcomes == {"nvidia-module": Outcome.OK, "nvml": Outcome.FAILED}


def test_the_drivers_own_list_names_a_card_that_the_library_does_not(imagine: Imagine) -> None:
    information = "Model: \t\t NVIDIA L4\nGPU UUID: \t GPU-3291dfa4\nDevice Minor: \t 0\n"
    (gpu,), _ = climb(imagine({**LOADED, INFORMATION: information}, results={nvml.ARGV: refusal(18)}))
    assert (gpu.name, gpu.uuid, gpu.sources) == ("NVIDIA L4", "GPU-3291dfa4", ("pci", "proc"))


def test_a_card_is_found_where_the_bus_is_hidden(imagine: Imagine) -> None:
    (gpu,), _ = climb(imagine({**LOADED, INFORMATION: ""}, results={nvml.ARGV: answer(RTX_4090)}), cards=())
    assert (gpu.pci, gpu.state, gpu.sources) == ("0000:01:00.0", GpuState.USABLE, ("nvml",))


def test_the_program_answers_where_the_library_crashes(imagine: Imagine) -> None:
    table = CommandResult(0, sample("query_rtx4090_driver570.csv"))
    (gpu,), outcomes = climb(imagine(LOADED, results={nvml.ARGV: DIES, query(FIELDS): table}))
    assert (gpu.state, gpu.obstacle, gpu.arch, gpu.cuda) == (GpuState.USABLE, None, "8.9", None)
    assert (gpu.memory.total_bytes, gpu.sources) == (24564 * MIB, ("pci", "nvidia-smi"))
    assert (outcomes["nvml"], outcomes["nvidia-smi"]) == (Outcome.FAILED, Outcome.OK)


def test_an_old_driver_is_asked_for_less(imagine: Imagine) -> None:
    results = {
        nvml.ARGV: refusal(12),
        query(FIELDS): smi("old_driver_compute_cap"),
        query(BASIC_FIELDS): CommandResult(0, sample("query_gtx1060_driver470.csv")),
    }
    (gpu,), _ = climb(imagine(LOADED, results=results))
    assert (gpu.name, gpu.driver, gpu.arch) == ("NVIDIA GeForce GTX 1060 6GB", "470.256.02", None)
