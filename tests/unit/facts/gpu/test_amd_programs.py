from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest

from provision.domain.facts import Outcome
from provision.domain.gpu import Gpu, GpuMemory, GpuState
from provision.facts.gpu.rocm_tools import AMD_SMI, ENUMERATOR, ROCM_SMI, ROCMINFO
from provision.host.capture import CapturingMachine
from provision.host.machine import CommandResult, Machine
from tests.standin.gpu_samples import amd_machine, kfd_node, read_amd, sample

Imagine = Callable[..., Machine]

NAMED = "AMD Radeon RX 7900 XTX"
OLD_NODE = sample("amd/kfd/node1_rx7900xtx.properties").replace("gfx_target_version 110000\n", "")
OLD_KERNEL = {**amd_machine("rx7900xtx"), **kfd_node(1, OLD_NODE)}


def read_one(machine: Machine) -> Gpu:
    (gpu,), _ = read_amd(machine)
    return gpu


@pytest.mark.parametrize(
    ("argv", "answer", "name"),
    [
        (ROCMINFO, "amd/rocminfo_rx7900xtx_plus_cpu.txt", NAMED),
        (AMD_SMI, "amd/amd_smi_static_rx7900xtx_gpu_data.json", NAMED),
        (ROCM_SMI, "amd/rocm_smi_rx7900xtx.json", NAMED),
        (AMD_SMI, "amd/amd_smi_static_mi300x_list.json", None),
        (ENUMERATOR, "amd/rocm_agent_enumerator_apu_plus_dgpu.txt", None),
    ],
    ids=["rocminfo", "amd-smi", "rocm-smi", "another card", "targets of nobody knows which card"],
)
def test_programs_fill_in_what_the_kernel_does_not_know(
    argv: tuple[str, ...], answer: str, name: str | None, imagine: Imagine
) -> None:
    gpu = read_one(imagine(OLD_KERNEL, results={argv: CommandResult(0, sample(answer))}))
    assert (gpu.name, gpu.arch) == (name, "gfx1100" if name else None)
    assert (gpu.sources[-1] == argv[0]) is bool(name)


def test_a_single_target_is_that_of_the_only_card(imagine: Imagine) -> None:
    gpu = read_one(imagine(OLD_KERNEL, results={ENUMERATOR: CommandResult(0, "gfx000\ngfx1100\n")}))
    assert (gpu.name, gpu.arch) == (None, "gfx1100")


def test_wsl_has_nothing_but_rocminfo(imagine: Imagine) -> None:
    """The runtime's variable has worked on what rocminfo lists; HIP's counts from there."""
    answer = CommandResult(0, sample("amd/rocminfo_rx7900xtx_plus_cpu.txt"))
    env = {"ROCR_VISIBLE_DEVICES": "3,1", "HIP_VISIBLE_DEVICES": "0"}
    gpus, _ = read_amd(imagine(results={ROCMINFO: answer}, env=env), wsl=2)
    assert [(gpu.name, gpu.arch, gpu.integrated, gpu.memory, gpu.masked) for gpu in gpus] == [
        (NAMED, "gfx1100", False, GpuMemory("dedicated", 24560 << 20), False),
        ("AMD Radeon Graphics", "gfx1036", True, GpuMemory("unified", 512 << 20), True),
    ]
    assert {(gpu.state, gpu.apis, gpu.pci, gpu.sources) for gpu in gpus} == {
        (GpuState.USABLE, ("rocm",), None, ("rocminfo",))
    }


def test_what_hides_gpus_in_wsl_is_part_of_a_capture(imagine: Imagine) -> None:
    answer = CommandResult(0, sample("amd/rocminfo_rx7900xtx_plus_cpu.txt"))
    machine = CapturingMachine(imagine(results={ROCMINFO: answer}, env={"HIP_VISIBLE_DEVICES": "0", "OTHER": "x"}))
    read_amd(machine, wsl=2)
    assert machine.capture().env == {"HIP_VISIBLE_DEVICES": "0"}


@pytest.mark.parametrize(
    ("results", "outcome"),
    [({}, Outcome.MISSING), ({ROCMINFO: CommandResult(1, sample("amd/rocminfo_error_no_module.txt"))}, Outcome.FAILED)],
    ids=["not installed", "refused"],
)
def test_wsl_without_an_answer_has_no_gpu(
    results: Mapping[tuple[str, ...], CommandResult], outcome: Outcome, imagine: Imagine
) -> None:
    gpus, probes = read_amd(imagine(results=results), wsl=2)
    assert (gpus, [probe.outcome for probe in probes]) == ((), [outcome])
