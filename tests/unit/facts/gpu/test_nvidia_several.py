"""Several GPUs: which answer belongs to which card, and what hides one."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from provision.domain.facts import Facts, Memory, OperatingSystem, Outcome
from provision.domain.gpu import Gpu, GpuState, Obstacle
from provision.facts.gpu import nvidia_smi, nvml, tegra
from provision.facts.gpu.nvidia import read_gpus
from provision.facts.gpu.nvidia_smi import BASIC_FIELDS, FIELDS, query
from provision.facts.gpu.pci import NVIDIA, PciGpu
from provision.facts.probing import Recorder
from provision.host.machine import CommandResult, Machine

Imagine = Callable[..., Machine]

HOST = Facts(memory=Memory(8, 4))
CONTAINER = Facts(os=OperatingSystem(container="docker"))
FIRST = PciGpu("0000:07:00.0", NVIDIA, 0x20B0, "nvidia")
SECOND = FIRST._replace(address="0000:21:00.0", device_id=0x2204)
INFORMATION = "/proc/driver/nvidia/gpus/0000:21:00.0/information"


def device(pci: str | None, name: str = "NVIDIA A100", **more: Any) -> dict[str, Any]:
    memory = {"total": 40 << 30, "free": 39 << 30}
    keys = dict.fromkeys(("compute_capability", "mig", "unified"))
    uuid = f"GPU-{pci}"
    return {"pci": pci, "name": name, "uuid": uuid, "memory": memory, "instances": [], **keys, **more}


def answer(*devices: dict[str, Any], **more: Any) -> CommandResult:
    return CommandResult(0, json.dumps({"driver": "580.95.05", "cuda": None, "devices": devices, **more}))


def climb(
    machine: Machine, cards: Sequence[PciGpu] = (FIRST, SECOND), facts: Facts = HOST
) -> tuple[tuple[Gpu, ...], dict[str, Outcome]]:
    record = Recorder()
    gpus = read_gpus(machine, record, cards, facts)
    return gpus, {probe.name: probe.outcome for probe in record.probes}


BOTH = answer(device("00000000:21:00.0", "RTX 3090"), device("00000000:07:00.0", "A100"))


def test_the_address_tells_which_is_which(imagine: Imagine) -> None:
    gpus, _ = climb(imagine(results={nvml.ARGV: BOTH}))
    assert [(gpu.pci, gpu.device_id, gpu.name) for gpu in gpus] == [
        ("0000:07:00.0", "10de:20b0", "A100"),
        ("0000:21:00.0", "10de:2204", "RTX 3090"),
    ]


def test_one_card_may_belong_to_a_guest_and_the_other_work(imagine: Imagine) -> None:
    results = {nvml.ARGV: answer(device("00000000:07:00.0"))}
    gpus, _ = climb(imagine(results=results), [FIRST, SECOND._replace(driver="vfio-pci")])
    assert [(gpu.state, gpu.obstacle) for gpu in gpus] == [
        (GpuState.USABLE, None),
        (GpuState.PRESENT, Obstacle.PASSED_THROUGH),
    ]


def test_a_hypervisors_address_with_a_long_domain_is_the_same_card(imagine: Imagine) -> None:
    card = FIRST._replace(address="cfdd:00:00.0")
    (gpu,), _ = climb(imagine(results={nvml.ARGV: answer(device("03F8CFDD:00:00.0"))}), [card])
    assert (gpu.pci, gpu.state) == ("cfdd:00:00.0", GpuState.USABLE)


@pytest.mark.parametrize(("count", "addresses"), [(1, ["0000:07:00.0"]), (2, [None, None])])
def test_answers_without_an_address_do_not_count_cards_twice(
    imagine: Imagine, count: int, addresses: list[str | None]
) -> None:
    results = {nvml.ARGV: answer(*[device(None)] * count)}
    gpus, _ = climb(imagine(results=results), [FIRST, SECOND][:count])
    assert [(gpu.pci, gpu.state) for gpu in gpus] == [(address, GpuState.USABLE) for address in addresses]


def test_one_answer_without_an_address_stands_for_one_of_two_cards(imagine: Imagine) -> None:
    gpus, _ = climb(imagine(results={nvml.ARGV: answer(device(None))}))
    assert sorted(gpu.state.value for gpu in gpus) == ["driver", "usable"]


@pytest.mark.parametrize(
    ("refused", "files", "facts", "obstacle"),
    [
        ([15], {}, HOST, Obstacle.LOST),
        ([], {}, HOST, Obstacle.UNKNOWN),
        ([15, 3], {}, HOST, Obstacle.UNKNOWN),
        ([], {}, CONTAINER, Obstacle.NO_DEVICE_NODES),
        ([], {INFORMATION: "Model: A100\nDevice Minor: \t 1\n"}, HOST, Obstacle.NO_DEVICE_NODES),
        ([4], {INFORMATION: "Device Minor: \t 1\n", "/dev/nvidia1": ""}, CONTAINER, Obstacle.NO_PERMISSION),
    ],
)
def test_a_card_that_the_library_does_not_list(
    imagine: Imagine, *, refused: list[int], files: dict[str, str], facts: Facts, obstacle: Obstacle
) -> None:
    results = {nvml.ARGV: answer(device("00000000:07:00.0"), refused=refused)}
    (_, gpu), _ = climb(imagine(files, results=results), facts=facts)
    assert (gpu.pci, gpu.state, gpu.obstacle) == ("0000:21:00.0", GpuState.DRIVER, obstacle)


def test_a_hidden_card_is_masked(imagine: Imagine) -> None:
    env = {"CUDA_VISIBLE_DEVICES": "1", "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
    gpus, outcomes = climb(imagine(env=env, results={nvml.ARGV: BOTH}))
    assert [gpu.masked for gpu in gpus] == [True, False]
    assert outcomes["nvidia-mask"] is Outcome.OK


def test_a_number_that_may_mean_either_card_leaves_both_open_and_is_told(imagine: Imagine) -> None:
    gpus, outcomes = climb(imagine(env={"CUDA_VISIBLE_DEVICES": "1"}, results={nvml.ARGV: BOTH}))
    assert [gpu.masked for gpu in gpus] == [None, None]
    assert outcomes["nvidia-mask"] is Outcome.FAILED


TEXT = st.text(max_size=60) | st.sampled_from(["580.95.05", "nvidia", "0000:07:00.0", "# R36 (release), REVISION: 4,"])
RESULT = st.builds(CommandResult, st.sampled_from([0, 1, 2, 9, 18, 124, 127, 255, -11]), TEXT, TEXT)
DEVICES = st.lists(
    st.fixed_dictionaries(
        device(None)
        | {"pci": st.sampled_from([None, "00000000:07:00.0", "x"]), "mig": st.none() | st.booleans()}
        | {key: st.none() | TEXT for key in ("name", "uuid")}
        | {key: st.just(value) for key, value in device(None).items() if key not in ("pci", "mig", "name", "uuid")}
    ),
    max_size=3,
)
PATHS = (
    "/sys/module/nvidia/version",
    "/proc/driver/nvidia/version",
    "/proc/driver/nvidia/gpus/0000:07:00.0/information",
    "/proc/driver/nvidia/gpus/nonsense/information",
    "/usr/lib/libnvidia-ml.so.1",
    "/dev/nvidiactl",
    "/dev/dxg",
    "/dev/nvhost-gpu",
    "/usr/lib/wsl/lib/libnvidia-ml.so.1",
    tegra.RELEASE,
    tegra.COMPATIBLE,
    tegra.MODEL,
)
SYSTEMS = st.builds(OperatingSystem, wsl=st.sampled_from([None, 1, 2]), container=st.sampled_from([None, "docker"]))


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    files=st.dictionaries(st.sampled_from(PATHS), TEXT),
    env=st.dictionaries(st.sampled_from(["CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES", "PATH"]), TEXT),
    asked=RESULT | DEVICES.map(lambda devices: answer(*devices)),
    then=st.lists(RESULT, min_size=3, max_size=3),
    drivers=st.lists(st.none() | st.sampled_from(["nvidia", "nouveau", "vfio-pci"]) | TEXT, max_size=3),
    system=SYSTEMS,
)
def test_whatever_a_machine_answers_nothing_is_raised_and_no_card_is_forgotten(
    imagine: Imagine, *, files: Any, env: Any, asked: Any, then: Any, drivers: list[str | None], system: Any
) -> None:
    commands = (query(FIELDS), query(BASIC_FIELDS), nvidia_smi.XML_ARGV)
    machine = imagine(files, env=env, results={nvml.ARGV: asked, **dict(zip(commands, then, strict=True))})
    cards = [FIRST._replace(address=f"0000:{7 + index:02x}:00.0", driver=name) for index, name in enumerate(drivers)]
    gpus, _ = climb(machine, cards, Facts(os=system))
    assert len(gpus) >= len(cards)
    for gpu in gpus:
        assert gpu.vendor == "nvidia"
        assert (gpu.state is GpuState.USABLE) == (gpu.obstacle is None) == bool(gpu.apis)
