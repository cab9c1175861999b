"""What the builds that engines come in ask of a GPU here; read only where there is a GPU."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from provision.domain.facts import Facts, Gpu
from provision.facts.findings.wording import numbers

if TYPE_CHECKING:
    from provision.knowledge.builds import Build

Version = tuple[int, ...]


def usable_apis(facts: Facts, gpu: Gpu) -> tuple[str, ...]:
    """Return the interfaces of ``gpu`` that some build can use on it."""
    return tuple(api for api in gpu.apis if _has_build(facts, gpu, api))


def _has_build(facts: Facts, gpu: Gpu, api: str) -> bool:
    if api == "cuda":
        return gpu.l4t is not None or not (is_below_capability(facts, gpu) or is_driver_old(facts, gpu))
    if api == "rocm":
        return gpu.arch is None or gpu.arch in rocm_targets(facts)
    return any(build.acceleration == api for build in _builds(facts))


def _builds(facts: Facts) -> Iterator[Build]:
    """Yield the builds for this system and processor; Jetson's are for it alone."""
    from provision.knowledge.builds import load_builds

    system, arch = facts.os.system or "Linux", facts.os.arch
    for build in load_builds():
        if build.l4t is None and system in build.systems and (arch is None or arch in build.archs):
            yield build


def oldest_capability(facts: Facts) -> Version:
    """Return the lowest compute capability that a CUDA build takes; empty where no build says one."""
    floors = [numbers(build.compute_capability) for build in _builds(facts) if build.acceleration == "cuda"]
    return min(filter(None, floors), default=())


def is_below_capability(facts: Facts, gpu: Gpu) -> bool:
    """Tell whether every CUDA build is for newer GPUs."""
    capability = numbers(gpu.arch)
    return bool(capability) and capability < oldest_capability(facts)


def oldest_driver(facts: Facts, gpu: Gpu) -> Version:
    """Return the oldest NVIDIA driver that a CUDA build takes on this GPU; empty where there is no such build."""
    capability = numbers(gpu.arch)
    floors = [
        _driver_floor(build, capability)
        for build in _builds(facts)
        if build.acceleration == "cuda" and not (capability and capability < numbers(build.compute_capability))
    ]
    return min(filter(None, floors), default=())


def _driver_floor(build: Build, capability: Version) -> Version:
    special = [floor.driver for floor in build.driver_floors if capability and capability < numbers(floor.below)]
    return numbers(special[0] if special else build.driver)


def is_driver_old(facts: Facts, gpu: Gpu) -> bool:
    """Tell whether the driver is known, and older than any CUDA build takes."""
    driver = numbers(gpu.driver) if gpu.driver_name in (None, "nvidia") and gpu.l4t is None else ()
    return bool(driver) and driver < oldest_driver(facts, gpu)


def rocm_targets(facts: Facts) -> frozenset[str]:
    """Return the gfx targets that some ROCm build for this system holds kernels for."""
    return frozenset(target for build in _builds(facts) if build.acceleration == "rocm" for target in build.gfx)


def oldest_glibc(facts: Facts, apis: tuple[str, ...]) -> Version:
    """Return the lowest glibc that a build for one of ``apis`` takes; empty where none asks for one."""
    floors = [numbers(build.glibc) for build in _builds(facts) if build.acceleration in apis]
    return min(floors, default=())
