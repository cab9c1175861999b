from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provision.domain.facts import Facts
from provision.domain.gpu import GpuState, Obstacle
from provision.facts.gpu import nvidia_kernel, pci, tegra
from provision.facts.gpu.nvidia import read_gpus
from provision.facts.gpu.nvidia_kernel import (
    Information,
    parse_information,
    parse_module_version,
    parse_proc_version,
    read_library_version,
    read_version,
)
from provision.facts.probing import Recorder
from provision.host.machine import Machine

Imagine = Callable[..., Machine]

SAMPLES = Path(__file__).parents[3] / "samples" / "nvidia"

# What the driver for an L4 wrote, as a public bug report shows it.
INFORMATION = """Model: \t\t NVIDIA L4
IRQ:   \t\t 16
GPU UUID: \t GPU-3291dfa4-fcc4-0110-615b-c894a0d7c689
Video BIOS: \t 95.04.65.00.13
Bus Type: \t PCIe
Bus Location: \t 0000:70:00.0
Device Minor: \t 3
GPU Excluded:\t No
"""


def sample(name: str) -> str:
    return (SAMPLES / name).read_text(encoding="utf-8")


def test_the_version_of_the_loaded_module() -> None:
    assert parse_module_version(sample("sys_module_nvidia_version.txt")) == "570.133.07"
    assert parse_proc_version(sample("proc_driver_nvidia_version_closed.txt")) == "470.256.02"
    assert parse_proc_version(sample("proc_driver_nvidia_version_open.txt")) == "580.95.05"


def test_the_version_is_read_from_the_first_place_that_has_one(imagine: Imagine) -> None:
    proc = {nvidia_kernel.PROC_VERSION: sample("proc_driver_nvidia_version_open.txt")}
    assert read_version(imagine()) is None
    assert read_version(imagine(proc)) == "580.95.05"
    assert read_version(imagine({**proc, nvidia_kernel.MODULE: "580.95.06\n"})) == "580.95.06"


@pytest.mark.parametrize("text", ["", "N/A", "570", "<html>", "1" * 100_000, "570.133.07\n470.256.02"])
def test_nonsense_is_no_version(text: str) -> None:
    for parse in (parse_module_version, parse_proc_version):
        with pytest.raises(ValueError, match="no version"):
            parse(text)


def test_the_compilers_version_is_not_the_drivers() -> None:
    with pytest.raises(ValueError, match="no version"):
        parse_proc_version("NVRM version: unknown\nGCC version:  gcc version 12.2.0 (Debian)\n")


def test_what_the_driver_keeps_of_one_gpu() -> None:
    assert parse_information(INFORMATION) == Information("NVIDIA L4", "GPU-3291dfa4-fcc4-0110-615b-c894a0d7c689", 3)


def test_a_gpu_that_was_never_opened_has_no_name_yet() -> None:
    text = "Model: \t\t Unknown\nGPU UUID: \t GPU-????????-????-????-????-????????????\nDevice Minor: \t x\n"
    assert parse_information(text) == Information()


@given(st.text())
def test_arbitrary_text_is_parsed_or_refused(text: str) -> None:
    for parse in (parse_module_version, parse_proc_version, parse_information, tegra.parse_release):
        with suppress(ValueError):
            parse(text)
    tegra.is_tegra(text)


def test_the_librarys_link_tells_its_version(imagine: Imagine) -> None:
    link = "/usr/lib/x86_64-linux-gnu/libnvidia-ml.so.1"
    assert read_library_version(imagine({link: "libnvidia-ml.so.570.169"}), "x86_64", "glibc") == "570.169"
    assert read_library_version(imagine({link: "/etc/alternatives/glx"}), "x86_64", "glibc") is None
    assert read_library_version(imagine(), "x86_64", "glibc") is None


def test_the_release_of_jetson_linux() -> None:
    assert tegra.parse_release(sample("etc_nv_tegra_release_r36.txt")) == "36.4.3"
    assert tegra.parse_release("# R38 (release), REVISION: 2.0, GCID: 41844464, BOARD: generic\n") == "38.2.0"
    assert tegra.parse_release("# R35 (release), REVISION: 6.1, GCID: 1\n") == "35.6.1"


@pytest.mark.parametrize(
    ("compatible", "expected"),
    [
        ("nvidia,p3768-0000+p3767-0005\0nvidia,p3767-0005\0nvidia,tegra234\0", True),
        ("nvidia,p4071-0000+p3834-0008\0nvidia,p3834-0008\0nvidia,tegra264\0", True),
        ("raspberrypi,5-model-b\0brcm,bcm2712\0", False),
        ("maker,nvidia,tegra\0", False),
        ("", False),
    ],
)
def test_the_device_tree_tells_a_processor_with_a_gpu(compatible: str, expected: bool) -> None:
    assert tegra.is_tegra(compatible) is expected


class Case(NamedTuple):
    name: str
    facts: dict[str, str]


def pci_cases() -> list[Case]:
    blocks = sample("pci_sysfs_cases.txt").split("\n[")[1:]
    return [
        Case(block.partition("]")[0], dict(line.split("=", 1) for line in block.splitlines() if "=" in line))
        for block in blocks
    ]


def machine_of(case: Case, imagine: Imagine) -> Machine:
    directory = f"{pci.DEVICES}/{case.facts['address']}"
    files = {f"{directory}/{name}": f"{case.facts[name]}\n" for name in ("class", "vendor", "device")}
    if case.facts["driver"] != "-":
        files[f"{directory}/driver"] = f"../../../../bus/pci/drivers/{case.facts['driver']}"
    return imagine(files)


# Whether it is a GPU at all, and where one of NVIDIA's stops with nothing but the bus to look at.
VERDICTS: dict[str, tuple[bool, tuple[GpuState, Obstacle] | None]] = {
    "rtx3060_nouveau": (True, (GpuState.DRIVER, Obstacle.NOUVEAU)),
    "rtx3060_unbound": (True, (GpuState.PRESENT, Obstacle.NO_DRIVER)),
    "rtx3060_vfio": (True, (GpuState.PRESENT, Obstacle.PASSED_THROUGH)),
    "a100_3d_controller": (True, (GpuState.DRIVER, Obstacle.NO_DEVICE_NODES)),
    "nvidia_hdmi_audio_only": (False, None),
    "mi300x_processing_accelerator": (True, None),
    "aspeed_bmc": (False, None),
    "virtio_gpu": (False, None),
}


@pytest.mark.parametrize("case", pci_cases(), ids=lambda case: case.name)
def test_every_sample_of_the_bus(case: Case, imagine: Imagine) -> None:
    machine = machine_of(case, imagine)
    cards = pci.read_gpus(machine) or ()
    gpus = read_gpus(machine, Recorder(), cards, Facts())
    is_gpu, stop = VERDICTS[case.name]
    assert [card.address for card in cards] == [case.facts["address"]] * is_gpu
    assert [(gpu.state, gpu.obstacle) for gpu in gpus] == ([stop] if stop else [])


def test_the_samples_of_the_bus_are_all_tested() -> None:
    assert [case.name for case in pci_cases()] == list(VERDICTS)
