"""A ``llama-server`` that is there already is asked for its devices, where there is a GPU."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from provision.domain.facts import Facts, Outcome
from provision.facts.detect import detect
from provision.facts.gpu.intel import LEVEL_ZERO
from provision.facts.gpu.listed_devices import LIST_DEVICES
from provision.host.machine import Command, CommandResult, Machine
from tests.standin.gpu_samples import pci_files, sysfs

Imagine = Callable[..., Machine]

MIB = 1 << 20
ENV = {"PATH": "/opt/llama:/usr/bin"}
ENGINE = {"/opt/llama/llama-server": ""}
ARC = {
    **pci_files(sysfs("intel/arc_b580_xe.sysfs")),
    **{f"/usr/lib/x86_64-linux-gnu/{name}": "" for name in LEVEL_ZERO},
    "/dev/dri/renderD128": "",
}
LISTED = "Available devices:\n  SYCL0: Intel(R) Arc(TM) B580 Graphics (12216 MiB, 11000 MiB free)\n"


def engine_probe(facts: Facts) -> list[tuple[Outcome, str | None]]:
    return [(probe.outcome, probe.detail) for probe in facts.probes if probe.name == "llama-server"]


def codes(facts: Facts) -> set[str]:
    return {finding.code for finding in facts.findings}


def answering(imagine: Imagine, files: dict[str, str], answer: CommandResult) -> Facts:
    return detect(imagine(files, env=ENV, results={LIST_DEVICES.argv: answer}), "/p")


def test_its_list_is_a_fact_and_tells_the_free_memory_that_the_driver_does_not(imagine: Imagine) -> None:
    facts = answering(imagine, {**ARC, **ENGINE}, CommandResult(0, LISTED, "load_backend: loaded SYCL backend"))
    assert [(one.identifier, one.api, one.free_bytes) for one in facts.listed_devices or ()] == [
        ("SYCL0", "level-zero", 11000 * MIB)
    ]
    (gpu,) = facts.gpus
    assert (gpu.memory.free_bytes, gpu.sources[-1]) == (11000 * MIB, "llama-server")
    assert engine_probe(facts) == [(Outcome.OK, None)]
    assert "ENGINE-DISAGREES" not in codes(facts)


def test_a_build_without_gpus_disagrees(imagine: Imagine) -> None:
    facts = answering(imagine, {**ARC, **ENGINE}, CommandResult(0, "Available devices:\n  (none)\n"))
    assert facts.listed_devices == ()
    assert facts.gpus[0].memory.free_bytes is None
    assert "ENGINE-DISAGREES" in codes(facts)


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (CommandResult(124, "Available devices:\n", "no answer within 10 s"), "timed out: llama-server: no answer"),
        (CommandResult(-11, LISTED), "ended by signal 11"),
        (CommandResult(1, "", "error: invalid argument: --list-devices"), "no list of devices"),
    ],
)
def test_one_that_fails_is_told_and_no_list(answer: CommandResult, told: str, imagine: Imagine) -> None:
    facts = answering(imagine, {**ARC, **ENGINE}, answer)
    assert facts.listed_devices is None
    ((outcome, detail),) = engine_probe(facts)
    assert outcome is Outcome.FAILED
    assert told in (detail or "")
    assert "ENGINE-DISAGREES" not in codes(facts)


@pytest.mark.parametrize("files", [ARC, ENGINE], ids=["no engine", "no GPU"])
def test_nothing_is_run_without_an_engine_or_without_a_gpu(files: dict[str, str], imagine: Imagine) -> None:
    machine = imagine(files, env=ENV)
    asked: list[tuple[str, ...]] = []

    def run(command: Command) -> CommandResult:
        asked.append(command.argv)
        return CommandResult(127)

    machine.run = run  # type: ignore[method-assign]
    facts = detect(machine, "/p")
    assert LIST_DEVICES.argv not in asked
    assert (facts.listed_devices, engine_probe(facts)) == (None, [])
