"""NVIDIA's processors with a GPU inside (Jetson): no PCI card, and before JetPack 6 no NVML either."""

from __future__ import annotations

import re
from typing import NamedTuple

from provision.domain.gpu import GpuState, Obstacle
from provision.facts.gpu.nvidia_obstacles import Stop
from provision.facts.gpu.nvml import text_of
from provision.host.machine import Machine

RELEASE = "/etc/nv_tegra_release"
COMPATIBLE = "/proc/device-tree/compatible"
MODEL = "/proc/device-tree/model"
DRIVER = "nvgpu"
MODULE = f"/sys/module/{DRIVER}"
NODES = ("/dev/nvhost-gpu", "/dev/nvgpu/igpu0/ctrl")
CUDA_PLACES = (
    "/usr/lib/aarch64-linux-gnu/nvidia",
    "/usr/lib/aarch64-linux-gnu/tegra",
    "/usr/lib/aarch64-linux-gnu",
)

_MAX_CHARACTERS, _MAX_NAME = 4096, 200
_RELEASE = re.compile(r"^# R([0-9]{1,3}) \(release\), REVISION: ([0-9]{1,3}(?:\.[0-9]{1,3}){0,2}),", re.MULTILINE)


class Board(NamedTuple):
    """``name`` is the board's; ``l4t`` the release of Jetson Linux, like ``36.4.3``."""

    name: str | None = None
    l4t: str | None = None


def parse_release(text: str) -> str:
    """Return the release of Jetson Linux. Raises ``ValueError`` for anything else."""
    match = _RELEASE.search(text[:_MAX_CHARACTERS])
    if match is None:
        raise ValueError("no release of Jetson Linux")
    return f"{match[1]}.{match[2]}"


def is_tegra(compatible: str) -> bool:
    """Tell whether the device tree's list of names, each ended by a zero byte, holds one of these processors."""
    return any(name.startswith("nvidia,tegra") for name in compatible[:_MAX_CHARACTERS].split("\0"))


def is_board(machine: Machine) -> bool:
    """Tell whether this is such a machine. A container may show one of the two signs only."""
    return machine.exists(RELEASE) or is_tegra(machine.read_text(COMPATIBLE) or "")


def read_board(machine: Machine) -> Board:
    """Read the board's name, and which Jetson Linux it runs."""
    release = machine.read_text(RELEASE)
    name = (machine.read_text(MODEL) or "").strip("\0 \n")
    return Board(text_of(name[:_MAX_NAME] or None), None if release is None else parse_release(release))


def check(machine: Machine) -> Stop | None:
    """Say where the GPU stops, ``None`` where a program finds all that it needs: a device node and CUDA's library.

    That library comes with Jetson Linux and with nothing else, so that it fits the kernel's driver.
    """
    found = {node: access for node in NODES if (access := machine.access(node)) is not None}
    if not found and not machine.exists(MODULE):
        return Stop(GpuState.PRESENT, Obstacle.NO_DRIVER)
    if not found:
        return Stop(GpuState.DRIVER, Obstacle.NO_DEVICE_NODES, " and ".join(NODES))
    if not any(access.allowed for access in found.values()):
        node, access = next(iter(found.items()))
        return Stop(GpuState.DRIVER, Obstacle.NO_PERMISSION, node, access.group)
    libraries = (name for place in CUDA_PLACES for name in machine.list_dir(place))
    if not any(name.startswith("libcuda.so") for name in libraries):
        return Stop(GpuState.DRIVER, Obstacle.NO_LIBRARY, "libcuda.so.1")
    return None
