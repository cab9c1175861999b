from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provision.facts.gpu import nvml
from provision.facts.gpu.nvml import Answer, Device, Instance, Memory, Refusal, parse_document
from provision.host.machine import Command, CommandResult, Machine

Imagine = Callable[..., Machine]

GIB = 1 << 30
DEVICE: dict[str, Any] = {
    "name": "NVIDIA A100-SXM4-40GB",
    "uuid": "GPU-5c1f7e0d-3a84-4be9-b2d6-70f9a1c35e48",
    "pci": "00000000:07:00.0",
    "compute_capability": [8, 0],
    "memory": {"total": 40 * GIB, "free": 39 * GIB},
    "mig": True,
    "instances": [{"uuid": "MIG-1", "name": "1g.5gb", "memory": {"total": 5 * GIB, "free": 4 * GIB}}],
    "unified": False,
}
NOTHING: dict[str, Any] = dict.fromkeys(DEVICE) | {"instances": []}


def document(device: dict[str, Any] = DEVICE, **changed: Any) -> str:
    return json.dumps({"driver": "550.144.03", "cuda": 12040, "devices": [device], **changed})


def test_a_whole_document() -> None:
    device = Device(
        name="NVIDIA A100-SXM4-40GB",
        uuid="GPU-5c1f7e0d-3a84-4be9-b2d6-70f9a1c35e48",
        pci="0000:07:00.0",
        compute_capability="8.0",
        memory=Memory(40 * GIB, 39 * GIB),
        mig=True,
        instances=(Instance("MIG-1", "1g.5gb", Memory(5 * GIB, 4 * GIB)),),
        unified=False,
    )
    assert parse_document(document()) == Answer("550.144.03", "12.4", (device,))


def test_what_the_library_did_not_tell_is_not_known() -> None:
    assert parse_document(document(NOTHING, driver=None, cuda=None)) == Answer(devices=(Device(),))


def test_the_zeros_of_a_processors_gpu_are_no_uuid() -> None:
    content = parse_document(document(NOTHING | {"uuid": "GPU-00000000-0000-0000-0000-000000000000"}))
    assert isinstance(content, Answer)
    assert content.devices[0].uuid is None


@pytest.mark.parametrize(("number", "version"), [(12080, "12.8"), (13000, "13.0"), (11040, "11.4"), (0, None)])
def test_versions_of_cuda(number: int, version: str | None) -> None:
    content = parse_document(document(cuda=number))
    assert isinstance(content, Answer)
    assert content.cuda == version


def test_a_refusal() -> None:
    text = '{"error": 18, "message": "RM has detected\\n an NVML/RM \\u001b[31mversion mismatch."}'
    assert parse_document(text) == Refusal(18, "RM has detected an NVML/RM [31mversion mismatch.")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "<html>502 Bad Gateway</html>",
        "[]",
        "null",
        "{}",
        '{"error": "18"}',
        '{"error": -1}',
        '{"error": true}',
        "[" * 100_000,
        '{"devices": ' + "[" * 100_000,
        '{"devices": [], "cuda": 1' + "0" * 5000 + "}",
        '{"devices": [], "cuda": NaN}',
        " " * (1 << 20) + "{}",
        document(devices=[DEVICE] * 65),
        document(devices={}),
        document(devices=["GPU 0"]),
        document(driver=570),
        document(cuda="12.8"),
        document(cuda=-1),
        document(refused=["lost"]),
        document(DEVICE | {"name": "a" * 201}),
        document(DEVICE | {"name": "\ud800"}),
        document(DEVICE | {"name": "\x1b[2J"}),
        document(DEVICE | {"pci": "[N/A]"}),
        document(DEVICE | {"pci": 7}),
        document(DEVICE | {"compute_capability": "8.0"}),
        document(DEVICE | {"compute_capability": [8]}),
        document(DEVICE | {"compute_capability": [8, 0.5]}),
        document(DEVICE | {"memory": 40}),
        document(DEVICE | {"memory": {"total": 40}}),
        document(DEVICE | {"memory": {"total": 1 << 60, "free": 0}}),
        document(DEVICE | {"memory": {"total": 10**30, "free": 0}}),
        document(DEVICE | {"mig": "Enabled"}),
        document(DEVICE | {"instances": None}),
        document(DEVICE | {"instances": [None]}),
        document(DEVICE | {"instances": [{}] * 17}),
        document(DEVICE | {"unified": 1}),
    ],
    ids=lambda text: text[:40],
)
def test_nonsense_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the reason is for people
        parse_document(text)


def test_a_number_is_measured_before_it_is_converted() -> None:
    with pytest.raises(ValueError, match="a number of 4000 digits"):
        parse_document('{"devices": [], "cuda": ' + "1" * 4000 + "}")


@given(st.text())
def test_arbitrary_text_is_parsed_or_refused(text: str) -> None:
    with suppress(ValueError):
        parse_document(text)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from([*DEVICE, "total", "free", "error"]), inner),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from([*DEVICE, "memory"]), JSON), st.dictionaries(st.just("cuda"), JSON))
def test_arbitrary_values_are_parsed_or_refused(changed: dict[str, Any], around: dict[str, Any]) -> None:
    try:
        content = parse_document(document(DEVICE | changed, **around))
    except ValueError:
        return
    assert isinstance(content, Answer)


class Asked:
    """A machine that keeps the command that it is given."""

    def __init__(self, machine: Machine, result: CommandResult) -> None:
        self.env, self.result = machine.env, result
        self.commands: list[Command] = []

    def run(self, command: Command) -> CommandResult:
        self.commands.append(command)
        return self.result


@pytest.mark.parametrize(
    ("in_wsl", "env", "expected"),
    [
        (False, {"LD_LIBRARY_PATH": "/opt/cuda/lib64"}, {}),
        (True, {}, {"LD_LIBRARY_PATH": "/usr/lib/wsl/lib"}),
        (True, {"LD_LIBRARY_PATH": "/opt/lib"}, {"LD_LIBRARY_PATH": "/usr/lib/wsl/lib:/opt/lib"}),
    ],
)
def test_under_wsl_the_copy_of_windows_driver_comes_first(
    imagine: Imagine, in_wsl: bool, env: dict[str, str], expected: dict[str, str]
) -> None:
    machine: Any = Asked(imagine(env=env), CommandResult(0, document()))
    nvml.ask(machine, in_wsl)
    (command,) = machine.commands
    assert (command.argv, command.env, command.timeout_s) == (("fabric-probe", "nvml"), expected, 15)


@pytest.mark.parametrize(("result", "code"), [(CommandResult(-6), nvml.CRASHED), (CommandResult(127), nvml.NOT_ASKED)])
def test_how_the_program_ended_is_told(imagine: Imagine, result: CommandResult, code: int) -> None:
    refusal = nvml.ask(imagine(results={nvml.ARGV: result}), in_wsl=False)
    assert isinstance(refusal, Refusal)
    assert refusal.code == code


def test_a_program_that_hangs_or_fails_raises(imagine: Imagine) -> None:
    with pytest.raises(TimeoutError, match="no answer within 15 s"):
        nvml.ask(imagine(results={nvml.ARGV: CommandResult(124, "", "no answer within 15 s")}), in_wsl=False)
    with pytest.raises(ValueError, match="No module named 'pynvml'"):
        nvml.ask(imagine(results={nvml.ARGV: CommandResult(1, "", "No module named 'pynvml'")}), in_wsl=False)
