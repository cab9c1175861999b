"""What is known of GPU drivers apart from the builds that use them, from ``profiles/drivers.yaml``."""

from __future__ import annotations

import msgspec

from provision.knowledge.builds import Version
from provision.knowledge.load import load


class LastBranch(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The last branch of NVIDIA's driver for GPUs with a compute capability below ``below``."""

    below: Version
    branch: int


class NvidiaDrivers(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``turing_from`` and ``blackwell_from`` are the first PCI device numbers of these generations."""

    last_branches: tuple[LastBranch, ...]
    turing_from: int
    blackwell_from: int
    source: str


class KernelFloor(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The oldest kernel for some targets. ``patched`` are older ones, up to their build number, with the same fix."""

    gfx: tuple[str, ...]
    kernel: Version
    patched: tuple[str, ...] = ()


class AmdDrivers(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``module`` is the oldest amdgpu of AMD's own packages that the ROCm of the builds can be used with."""

    module: Version
    kernels: tuple[KernelFloor, ...]
    source: str


class Drivers(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file. ``checked`` is the day on which its sources were last read."""

    version: int
    checked: str
    nvidia: NvidiaDrivers
    amd: AmdDrivers


def load_drivers() -> Drivers:
    """Return what is known of drivers."""
    drivers: Drivers = load("drivers", Drivers)
    return drivers
