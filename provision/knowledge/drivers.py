"""What is known of GPU drivers apart from the builds that use them, from ``profiles/drivers.yaml``."""

from __future__ import annotations

import msgspec

from provision.knowledge.builds import Version
from provision.knowledge.load import load
from provision.knowledge.versions import numbers, older


class LastBranch(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The last branch of NVIDIA's driver for GPUs with a compute capability below ``below``."""

    below: Version
    branch: int


class Generation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """GPUs that NVIDIA's drivers treat in a way of their own.

    They are known by compute capability, from ``since`` up to, not with, ``below``; where it is not known, by PCI
    device number, from ``first_id`` up to, not with, ``end_id``.
    """

    name: str
    since: Version | None = None
    below: Version | None = None
    first_id: int = 0
    end_id: int = 0x10000

    def holds(self, capability: str | None, number: int | None) -> bool:
        """Tell whether a GPU is of this generation; one of which neither is known is of none."""
        if not numbers(capability):
            return number is not None and self.first_id <= number < self.end_id
        return not (self.since and older(capability, self.since)) and (not self.below or older(capability, self.below))


class NvidiaDrivers(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How long NVIDIA keeps which GPUs, and which of them need another driver than the rest."""

    last_branches: tuple[LastBranch, ...]
    generations: tuple[Generation, ...]
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
