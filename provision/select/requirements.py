"""Whether one build runs on one machine: the first thing that it lacks, in words. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain

from provision.domain.facts import Facts
from provision.domain.gpu import Gpu
from provision.domain.units import GIB
from provision.knowledge.builds import Build
from provision.knowledge.versions import older


def unmet(build: Build, facts: Facts, gpu: Gpu | None) -> str:
    """Return what keeps ``build`` from running here, on ``gpu`` where it uses one; empty where nothing does.

    What is not known does not count against a build: the engine proves itself after the installation.
    """
    return next(chain(_host_reasons(build, facts), _gpu_reasons(build, gpu) if gpu else ()), "")


def _host_reasons(build: Build, facts: Facts) -> Iterator[str]:
    system, libc, isa = facts.os, facts.os.libc, set(facts.cpu.isa)
    if system.system not in build.systems or system.arch not in build.archs:
        yield f"no build for {system.system} {system.arch}"
    if system.system == "Linux" and build.glibc and libc.name != "glibc":
        yield f"the build needs glibc, this system has {libc.name or 'another'}"
    elif system.system == "Linux" and build.glibc and older(libc.version, build.glibc):
        yield f"the build needs glibc {build.glibc}, this system has {libc.version}"
    if build.macos and system.system == "Darwin" and older(system.version, build.macos):
        yield f"the build needs macOS {build.macos}, this is {system.version}"
    missing = sorted(set(build.isa) - isa)
    if isa and missing:
        yield f"this processor lacks {', '.join(missing)}"
    free = facts.disk.free_bytes
    if build.disk_bytes is not None and free is not None and free < build.disk_bytes:
        yield f"it takes about {build.disk_bytes / GIB:.0f} GiB of disk, and {free / GIB:.1f} GiB are free"


def _gpu_reasons(build: Build, gpu: Gpu) -> Iterator[str]:
    name = gpu.label
    if build.l4t is not None and not _is_between(gpu.l4t, build.l4t, build.l4t_below):
        yield f"the build is for Jetson Linux {build.l4t} and newer, {name} has {gpu.l4t or 'none'}"
    if build.compute_capability and older(gpu.arch, build.compute_capability):
        yield f"the build needs compute capability {build.compute_capability}, {name} has {gpu.arch}"
    driver = build.oldest_driver(gpu.arch)
    if driver and older(gpu.driver, driver):
        yield f"the build needs driver {driver}, {name} has {gpu.driver}"
    if build.gfx and gpu.arch not in build.gfx:
        yield f"the build has no kernels for {gpu.arch or 'an unknown target'}"


def unmet_by_quantization(build: Build, quantization: str | None, gpus: Sequence[Gpu]) -> str:
    """Return what keeps ``build`` from serving a model of this quantization on these GPUs; empty where nothing does."""
    for floor in build.needs:
        for gpu in gpus if floor.quantization == quantization else ():
            name = gpu.label
            if floor.compute_capability and older(gpu.arch, floor.compute_capability):
                return f"{quantization} needs compute capability {floor.compute_capability}, {name} has {gpu.arch}"
            if floor.gfx and gpu.arch not in floor.gfx:
                return f"{quantization} needs {' or '.join(floor.gfx)}, {name} is {gpu.arch}"
    return ""


def _is_between(version: str | None, floor: str, below: str | None) -> bool:
    return version is not None and not older(version, floor) and (below is None or older(version, below))
