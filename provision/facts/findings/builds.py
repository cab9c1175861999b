"""What the builds that engines come in ask of a GPU here; read only where there is a GPU."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import TYPE_CHECKING

from provision.domain.facts import Facts
from provision.domain.gpu import Gpu
from provision.knowledge.versions import numbers, older

if TYPE_CHECKING:
    from provision.knowledge.builds import Build


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


def oldest_capability(facts: Facts) -> str | None:
    """Return the lowest compute capability that a CUDA build takes; ``None`` where no build says one."""
    return _lowest(build.compute_capability for build in _builds(facts) if build.acceleration == "cuda")


def _lowest(versions: Iterable[str | None]) -> str | None:
    return min(filter(None, versions), key=numbers, default=None)


def is_below_capability(facts: Facts, gpu: Gpu) -> bool:
    """Tell whether every CUDA build is for newer GPUs."""
    floor = oldest_capability(facts)
    return floor is not None and older(gpu.arch, floor)


def oldest_driver(facts: Facts, gpu: Gpu) -> str | None:
    """Return the oldest NVIDIA driver that a CUDA build takes on this GPU; ``None`` where there is no such build."""
    return _lowest(
        build.oldest_driver(gpu.arch)
        for build in _builds(facts)
        if build.acceleration == "cuda" and not older(gpu.arch, build.compute_capability or "0")
    )


def is_driver_old(facts: Facts, gpu: Gpu) -> bool:
    """Tell whether the driver is known, and older than any CUDA build takes. Jetson's has numbers of its own."""
    if gpu.l4t is not None or gpu.driver_name not in (None, "nvidia"):
        return False
    floor = oldest_driver(facts, gpu)
    return floor is not None and older(gpu.driver, floor)


def rocm_targets(facts: Facts) -> frozenset[str]:
    """Return the gfx targets that some ROCm build for this system holds kernels for."""
    return frozenset(target for build in _builds(facts) if build.acceleration == "rocm" for target in build.gfx)


def oldest_glibc(facts: Facts, apis: Collection[str]) -> str | None:
    """Return the lowest glibc that a build for one of ``apis`` takes; ``None`` where some build asks for none."""
    floors = [build.glibc for build in _builds(facts) if build.acceleration in apis]
    return None if None in floors else _lowest(floors)
