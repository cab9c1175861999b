"""What each build of each engine needs of a machine: the floors, from ``profiles/builds.yaml``."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from provision.domain.spec import EngineName
from provision.knowledge.load import load
from provision.knowledge.versions import numbers, older

Acceleration = Literal["cpu", "cuda", "rocm", "vulkan", "metal"]
Version = Annotated[str, Meta(pattern=r"^[0-9]+(\.[0-9]+)*$", description="A version, such as 12.8, as a string.")]


class DriverFloor(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Some GPUs need another driver than the rest: those of compute capability ``since`` up to, not with, ``below``."""

    driver: Version
    since: Version | None = None
    below: Version | None = None

    def covers(self, arch: str | None) -> bool:
        """Tell whether a GPU of this compute capability is meant; one that is not known is not."""
        if not numbers(arch):
            return False
        return not (self.since and older(arch, self.since)) and (self.below is None or older(arch, self.below))


class QuantizationFloor(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a GPU has to be for models of one quantization, beside what the build asks anyway."""

    quantization: str
    compute_capability: Version | None = None
    gfx: tuple[str, ...] = ()


class Build(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One build of one engine. What is left out is not asked for.

    ``compute_capability`` and ``driver`` are the oldest that NVIDIA's library in it accepts; ``gfx`` are AMD's
    targets that it holds kernels for; ``formats`` are the model formats that it loads; ``partial`` says that it can
    keep some layers in main memory; ``needs`` are the floors of quantizations; ``l4t`` and ``l4t_below`` bound the
    release of Jetson Linux; ``disk_bytes`` is about what it takes.
    """

    engine: EngineName
    name: str
    acceleration: Acceleration
    systems: tuple[str, ...]
    archs: tuple[str, ...]
    formats: tuple[str, ...]
    source: str
    glibc: Version | None = None
    macos: Version | None = None
    isa: tuple[str, ...] = ()
    driver: Version | None = None
    driver_floors: tuple[DriverFloor, ...] = ()
    compute_capability: Version | None = None
    gfx: tuple[str, ...] = ()
    l4t: Version | None = None
    l4t_below: Version | None = None
    partial: bool = False
    disk_bytes: int | None = None
    needs: tuple[QuantizationFloor, ...] = ()

    def oldest_driver(self, arch: str | None) -> str | None:
        """Return the oldest driver with which this build runs on a GPU of this compute capability."""
        return next((floor.driver for floor in self.driver_floors if floor.covers(arch)), self.driver)


class Builds(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file. ``checked`` is the day on which its sources were last read."""

    version: int
    checked: str
    builds: tuple[Build, ...]


def load_builds() -> tuple[Build, ...]:
    """Return every build that is known, best first within one engine and acceleration."""
    builds: Builds = load("builds", Builds)
    return builds.builds
