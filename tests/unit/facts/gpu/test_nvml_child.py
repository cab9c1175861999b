"""The program that loads NVIDIA's library, with a real shared library in its place that does what real ones did."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from provision.domain.facts import Facts, Memory, Outcome
from provision.domain.gpu import Gpu, GpuState, Obstacle
from provision.facts.gpu import nvml
from provision.facts.gpu.nvidia import read_gpus
from provision.facts.gpu.pci import NVIDIA, PciGpu
from provision.facts.probing import Recorder
from provision.host.machine import Command, CommandResult, LocalMachine

Probe: TypeAlias = Callable[..., CommandResult]

SOURCE = Path(__file__).parents[3] / "standin" / "nvml.c"
COMPILER = next((path for name in ("gcc", "cc", "clang", "tcc") if (path := shutil.which(name))), None)
MIB = 1 << 20
CARD_BYTES = 24564 * MIB

pytestmark = [
    pytest.mark.skipif(COMPILER is None, reason="no C compiler to make the stand-in with"),
    pytest.mark.skipif(sys.platform != "linux", reason="the library is Linux'"),
]


def compiled(directory: Path, *flags: str) -> Path:
    assert COMPILER
    library = directory / "libnvidia-ml.so.1"
    command = [COMPILER, "-shared", "-fPIC", "-nostdlib", *flags, "-o", str(library), str(SOURCE)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return directory


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compiled(tmp_path_factory.mktemp("new"))


@pytest.fixture(scope="module")
def old_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compiled(tmp_path_factory.mktemp("old"), "-DOLD")


def probe(library: Path, behaviour: str, timeout_s: float = 30) -> CommandResult:
    env = {"LD_LIBRARY_PATH": str(library), "NVML_STANDIN": behaviour}
    return LocalMachine().run(Command(nvml.ARGV, timeout_s, env))


def answer(library: Path, behaviour: str) -> nvml.Answer:
    result = probe(library, behaviour)
    assert result.returncode == 0, result.stderr
    content = nvml.parse_document(result.stdout)
    assert isinstance(content, nvml.Answer)
    return content


def test_two_cards_and_a_name_that_cannot_be_read_costs_only_itself(library: Path) -> None:
    content = answer(library, "cards")
    assert (content.driver, content.cuda, content.refused) == ("570.133.07", "12.8", ())
    first, second = content.devices
    assert first == nvml.Device(
        name="NVIDIA GeForce RTX 4090",
        uuid="GPU-00000000-0000-0000-0000-000000000001",
        pci="0000:0a:00.0",
        compute_capability="8.9",
        memory=nvml.Memory(CARD_BYTES, CARD_BYTES - 1024 * MIB),
        mig=False,
        unified=False,
    )
    assert (second.name, second.pci, second.compute_capability) == (None, "0000:2a:00.0", "8.6")


def test_the_document_is_the_one_that_the_contract_describes(library: Path) -> None:
    document: dict[str, Any] = json.loads(probe(library, "cards").stdout)
    assert set(document) == {"driver", "cuda", "devices", "refused"}
    assert document["cuda"] == 12080
    assert document["devices"][0]["pci"] == "00000000:0A:00.0"
    assert document["devices"][0]["compute_capability"] == [8, 9]
    assert document["devices"][0]["memory"] == {"total": CARD_BYTES, "free": CARD_BYTES - 1024 * MIB}


def test_instances_of_a_partitioned_card_have_their_own_memory(library: Path) -> None:
    (card,) = answer(library, "mig").devices
    assert card.mig is True
    assert [(part.name, part.uuid) for part in card.instances] == [
        ("NVIDIA A100-SXM4-40GB MIG 3g.20gb", "MIG-00000001-0000-0000-0000-000000000001"),
        ("MIG 1g.5gb", "MIG-00000002-0000-0000-0000-000000000001"),
    ]
    assert [part.memory and part.memory.total_bytes // MIB for part in card.instances] == [12282, 6141]


@pytest.mark.parametrize(
    ("behaviour", "has_memory", "unified"),
    [("unified", False, True), ("zero", False, True), ("hopper", True, True), ("denied", False, None)],
)
def test_what_shares_main_memory_is_told_apart_from_what_does_not_answer(
    library: Path, behaviour: str, has_memory: bool, unified: bool | None
) -> None:
    (card,) = answer(library, behaviour).devices
    assert (card.memory is not None, card.unified) == (has_memory, unified)


def test_every_question_may_fail_and_the_document_stands(library: Path) -> None:
    content = answer(library, "denied")
    assert content.driver == "570.133.07"
    assert content.devices == (nvml.Device(),)


def test_an_old_library_without_newer_calls_still_tells_its_memory(old_library: Path) -> None:
    (card, _) = answer(old_library, "cards").devices
    assert card.memory == nvml.Memory(CARD_BYTES, CARD_BYTES - 1024 * MIB)
    assert (card.mig, card.unified) == (None, False)


def test_a_card_that_fell_off_the_bus_leaves_the_others(library: Path) -> None:
    content = answer(library, "lost")
    assert [card.pci for card in content.devices] == ["0000:0a:00.0"]
    assert content.refused == (nvml.GPU_LOST,)


def test_an_absurd_number_of_cards_is_cut(library: Path) -> None:
    assert len(answer(library, "many").devices) == nvml.MAX_DEVICES


@pytest.mark.parametrize("code", [nvml.MISMATCH, nvml.NOT_LOADED, nvml.UNKNOWN_ERROR, nvml.NO_PERMISSION])
def test_a_library_that_does_not_start_tells_its_code(library: Path, code: int) -> None:
    result = probe(library, f"error {code}")
    refusal = nvml.parse_document(result.stdout)
    assert (result.returncode, refusal.code if isinstance(refusal, nvml.Refusal) else None) == (0, code)


def test_what_a_library_prints_does_not_stand_in_the_document(library: Path) -> None:
    assert probe(library, "garbage").stdout.startswith('{"driver": "570.133.07"')
    assert len(answer(library, "garbage").devices) == 2


@pytest.mark.parametrize(("behaviour", "signal"), [("abort", 6), ("segv", 11)])
def test_a_library_that_crashes_ends_its_own_process_only(library: Path, behaviour: str, signal: int) -> None:
    assert probe(library, behaviour).returncode == -signal


def test_a_library_that_crashes_at_its_end_has_answered_before(library: Path) -> None:
    assert answer(library, "exit").devices[0].name == "NVIDIA GeForce RTX 4090"


def test_a_library_that_hangs_is_ended_and_leaves_no_process(library: Path) -> None:
    started = time.monotonic()
    assert probe(library, "hang", timeout_s=2).returncode == 124
    assert time.monotonic() - started < 10
    assert not [process for process in Path("/proc").glob("[0-9]*") if str(library) in environment(process)]


def environment(process: Path) -> str:
    try:
        return (process / "environ").read_text(errors="replace")
    except OSError:
        return ""


def climbed(library: Path, behaviour: str) -> tuple[Gpu, dict[str, Outcome]]:
    env = {"LD_LIBRARY_PATH": str(library), "NVML_STANDIN": behaviour, "PATH": "/nowhere"}
    record = Recorder()
    card = PciGpu("0000:0a:00.0", NVIDIA, 0x2684, "nvidia")
    (gpu,) = read_gpus(LocalMachine(env), record, [card], Facts(memory=Memory(8, 4)))
    return gpu, {probe.name: probe.outcome for probe in record.probes}


@pytest.mark.parametrize("behaviour", ["abort", "segv"])
def test_fabric_outlives_a_crashing_library_and_says_so(library: Path, behaviour: str) -> None:
    if shutil.which("nvidia-smi"):
        pytest.skip("a real nvidia-smi would answer")
    gpu, outcomes = climbed(library, behaviour)
    assert (gpu.state, gpu.obstacle, gpu.apis) == (GpuState.DRIVER, Obstacle.CRASHED, ())
    assert (outcomes["nvml"], outcomes["nvidia-smi"]) == (Outcome.FAILED, Outcome.MISSING)


def test_a_card_climbs_to_the_top_through_the_real_program(library: Path) -> None:
    gpu, outcomes = climbed(library, "unified")
    assert (gpu.state, gpu.apis, gpu.obstacle) == (GpuState.USABLE, ("cuda",), None)
    assert (gpu.memory.kind, gpu.memory.total_bytes, gpu.memory.free_bytes) == ("unified", 8, 4)
    assert outcomes["nvml"] is Outcome.OK
