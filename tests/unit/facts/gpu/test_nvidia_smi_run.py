"""Running ``nvidia-smi``: how it fails, and what is asked again."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from provision.facts.gpu import nvidia_smi, nvml
from provision.facts.gpu.nvidia_smi import BASIC_FIELDS, FIELDS, parse_failure, parse_library_version, query
from provision.facts.gpu.nvml import Answer, Refusal
from provision.host.machine import Command, CommandResult, Machine

Imagine = Callable[..., Machine]

SAMPLES = Path(__file__).parents[3] / "samples" / "nvidia"


def sample(name: str) -> str:
    return (SAMPLES / name).read_text(encoding="utf-8")


def failure(name: str) -> CommandResult:
    """The note above the output holds the exit status."""
    note, _, output = sample(f"error_{name}.txt").partition("\n")
    status = re.search(r"exit status (\d+)", note)
    assert status
    return CommandResult(int(status[1]), output)


def table(name: str = "rtx4090_driver570") -> str:
    return sample(f"query_{name}.csv")


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("driver_library_mismatch", nvml.MISMATCH),
        ("no_driver_comm", nvml.NOT_LOADED),
        ("no_devices", nvml.NO_DEVICES),
        ("container_lost_nvml", nvml.UNKNOWN_ERROR),
        ("old_driver_compute_cap", 2),
    ],
)
def test_every_sample_of_an_error(name: str, code: int) -> None:
    result = failure(name)
    refusal = parse_failure(result)
    assert refusal is not None
    assert (refusal.code, refusal.message[:20]) == (code, result.stdout[:20])


def test_the_samples_of_errors_are_all_tested() -> None:
    assert len(list(SAMPLES.glob("error_*.txt"))) == 5


@pytest.mark.parametrize(
    ("name", "code"),
    [("driver_library_mismatch", 18), ("no_driver_comm", 9), ("no_devices", 6), ("container_lost_nvml", 999)],
)
def test_an_error_with_an_exit_status_of_0_is_one_all_the_same(name: str, code: int) -> None:
    output = failure(name).stdout
    assert parse_failure(CommandResult(0, output)) == Refusal(code, output.splitlines()[0])


@pytest.mark.parametrize(
    ("result", "code"),
    [
        (CommandResult(127), nvml.NOT_ASKED),
        (CommandResult(-11), nvml.CRASHED),
        (CommandResult(255, "", ""), nvml.UNKNOWN_ERROR),
        (CommandResult(15, "Unable to determine the device handle for GPU0: GPU is lost."), nvml.GPU_LOST),
        (CommandResult(4, "", "Failed to initialize NVML: Insufficient Permissions"), nvml.NO_PERMISSION),
        (CommandResult(12, "NVIDIA-SMI couldn't find libnvidia-ml.so library in your system."), nvml.NO_LIBRARY),
        (CommandResult(17, "Failed to initialize NVML: GPU access blocked by the operating system"), 17),
    ],
)
def test_other_ways_to_fail(result: CommandResult, code: int) -> None:
    refusal = parse_failure(result)
    assert refusal is not None
    assert refusal.code == code


def test_a_cell_that_tells_of_an_error_is_no_failure() -> None:
    assert parse_failure(CommandResult(0, table().replace("23592 MiB", "[Unknown Error]"))) is None


def test_the_library_tells_its_version_where_it_does_not_fit() -> None:
    refusal = parse_failure(failure("driver_library_mismatch"))
    assert refusal is not None
    assert parse_library_version(refusal.message) == "570.133"
    assert parse_library_version("Failed to initialize NVML: Unknown Error") is None


def test_a_warning_after_the_table_does_not_spoil_it(imagine: Imagine) -> None:
    output = table() + "WARNING: infoROM is corrupted at gpu 0000:01:00.0\n"
    answer = nvidia_smi.ask(imagine(results={query(FIELDS): CommandResult(14, output)}))
    assert isinstance(answer, Answer)
    assert len(answer.devices) == 1


def test_an_old_release_is_asked_again_for_what_it_knows(imagine: Imagine) -> None:
    results = {
        query(FIELDS): failure("old_driver_compute_cap"),
        query(BASIC_FIELDS): CommandResult(0, table("gtx1060_driver470")),
    }
    answer = nvidia_smi.ask(imagine(results=results))
    assert isinstance(answer, Answer)
    assert (answer.driver, answer.devices[0].compute_capability) == ("470.256.02", None)


def test_the_commands_are_those_that_captures_hold() -> None:
    assert query(BASIC_FIELDS) == (
        "nvidia-smi",
        "--query-gpu=index,uuid,name,pci.bus_id,driver_version,memory.total,memory.free",
        "--format=csv",
    )
    assert query(FIELDS)[1].endswith(",memory.free,compute_cap,mig.mode.current,addressing_mode")


class Asked:
    """A machine that keeps the commands that it is given."""

    def __init__(self, env: dict[str, str]) -> None:
        self.env = env
        self.commands: list[Command] = []

    def run(self, command: Command) -> CommandResult:
        self.commands.append(command)
        return CommandResult(0, table())


def test_it_is_found_where_path_does_not_lead() -> None:
    machine: Any = Asked({"PATH": "/sbin"})
    nvidia_smi.ask(machine)
    (command,) = machine.commands
    assert command.env == {"PATH": "/sbin:/usr/bin:/usr/lib/wsl/lib:/run/current-system/sw/bin"}
    assert command.timeout_s == 10


def test_it_may_hang_or_print_what_makes_no_sense(imagine: Imagine) -> None:
    with pytest.raises(TimeoutError, match="no answer within 10 s"):
        nvidia_smi.ask(imagine(results={query(FIELDS): CommandResult(124, "", "no answer within 10 s")}))
    with pytest.raises(ValueError, match="table"):
        nvidia_smi.ask(imagine(results={query(FIELDS): CommandResult(0, "<html>")}))
    with pytest.raises(ValueError, match="no XML"):
        nvidia_smi.ask_xml(imagine(results={nvidia_smi.XML_ARGV: CommandResult(0, "<html>")}))
