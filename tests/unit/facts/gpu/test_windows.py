from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provision.domain.facts import Facts, OperatingSystem, Outcome
from provision.domain.gpu import Gpu, GpuMemory, GpuState, Obstacle
from provision.facts.gpu.windows import VIDEO_CONTROLLERS, VideoController, parse_video_controllers, read_gpus
from provision.facts.probing import Recorder
from provision.host.machine import CommandResult, Machine

Imagine = Callable[..., Machine]

SAMPLE = Path(__file__).parents[3] / "samples" / "windows" / "wmi_video_controller.txt"
LINES = SAMPLE.read_text(encoding="utf-8").partition("\n")[2]  # without the note
WSL2 = Facts(os=OperatingSystem(wsl=2))


def read(imagine: Imagine, result: CommandResult, so_far: Facts = WSL2) -> tuple[tuple[Gpu, ...], Recorder]:
    record = Recorder()
    machine = imagine({"/dev/dxg": ""}, results={VIDEO_CONTROLLERS: result})
    return read_gpus(machine, record, so_far), record


@pytest.mark.parametrize("text", [LINES, LINES.replace("\n", "\r\n"), "\ufeff\n" + LINES])
def test_the_adapters_that_windows_names(text: str) -> None:
    assert parse_video_controllers(text) == (
        VideoController("NVIDIA GeForce RTX 4090", "32.0.15.7652"),
        VideoController("AMD Radeon(TM) 8060S Graphics", "32.0.21025.1024"),
        VideoController("Intel(R) HD Graphics 4000", "10.18.10.5161"),
    )


def test_an_adapter_without_figures() -> None:
    (adapter,) = parse_video_controllers("Name=Odd; adapter;AdapterRAM=;DriverVersion=\n")
    assert adapter == VideoController("Odd; adapter")


def test_gpus_of_amd_and_intel_are_present_and_of_no_use(imagine: Imagine) -> None:
    (amd, intel), record = read(imagine, CommandResult(0, LINES))
    assert (amd.vendor, amd.name, amd.driver) == ("amd", "AMD Radeon(TM) 8060S Graphics", "32.0.21025.1024")
    assert (intel.vendor, intel.name) == ("intel", "Intel(R) HD Graphics 4000")
    for gpu, why in ((amd, "KFD"), (intel, "Level Zero")):
        assert (gpu.state, gpu.apis, gpu.obstacle) == (GpuState.PRESENT, (), Obstacle.NO_API)
        assert gpu.memory == GpuMemory()
        assert why in (gpu.detail or "")
        assert "Dozen" in (gpu.detail or "")
    assert [(probe.name, probe.outcome) for probe in record.probes] == [("windows", Outcome.OK)]


def test_adapters_that_are_no_gpu_are_left_out(imagine: Imagine) -> None:
    names = ("Microsoft Remote Display Adapter", "NVIDIA GeForce RTX 4090", "Intelligent Display")
    text = "\n".join(f"Name={name};AdapterRAM=;DriverVersion=1.0" for name in names)
    assert read(imagine, CommandResult(0, text))[0] == ()


@pytest.mark.parametrize(
    ("result", "outcome"),
    [
        (CommandResult(127, "", "not found"), Outcome.MISSING),
        (CommandResult(124, "", "no answer within 10 s"), Outcome.FAILED),
        (CommandResult(1, "", "Get-CimInstance : Access denied"), Outcome.FAILED),
        (CommandResult(0, "<html>", ""), Outcome.FAILED),
    ],
)
def test_without_an_answer_there_is_no_gpu(result: CommandResult, outcome: Outcome, imagine: Imagine) -> None:
    gpus, record = read(imagine, result)
    assert (gpus, [probe.outcome for probe in record.probes]) == ((), [outcome])


@pytest.mark.parametrize(
    "so_far",
    [
        Facts(),
        Facts(os=OperatingSystem(wsl=1)),
        Facts(os=OperatingSystem(wsl=2), gpus=(Gpu(vendor="nvidia", state=GpuState.USABLE),)),
    ],
    ids=["no Windows", "WSL1", "NVIDIA answered"],
)
def test_windows_is_asked_only_where_its_answer_can_matter(so_far: Facts, imagine: Imagine) -> None:
    gpus, record = read(imagine, CommandResult(0, LINES), so_far)
    assert (gpus, record.probes) == ((), [])


def test_windows_is_asked_where_nvidia_s_gpu_did_not_answer(imagine: Imagine) -> None:
    silent = Facts(os=OperatingSystem(wsl=2), gpus=(Gpu(vendor="nvidia"),))
    assert [gpu.vendor for gpu in read(imagine, CommandResult(0, LINES), silent)[0]] == ["amd", "intel"]


def test_without_a_shared_gpu_windows_is_not_asked(imagine: Imagine) -> None:
    record = Recorder()
    assert read_gpus(imagine(results={VIDEO_CONTROLLERS: CommandResult(0, LINES)}), record, WSL2) == ()
    assert record.probes == []


@given(st.text() | st.lists(st.sampled_from(["Name=", ";AdapterRAM=", ";DriverVersion=", "x", "\n"])).map("".join))
def test_any_text_is_a_list_or_an_error(text: str) -> None:
    with suppress(ValueError):
        assert all(controller.name for controller in parse_video_controllers(text))
