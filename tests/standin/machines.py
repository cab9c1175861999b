"""Machines and GPUs to choose for, to be changed one fact at a time."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from provision.domain.facts import Cpu, Disk, Facts, Libc, Memory, OperatingSystem
from provision.domain.gpu import Gpu, GpuMemory, GpuState

GIB = 1 << 30


def dedicated(total_gib: float, free_gib: float | None = None) -> GpuMemory:
    return GpuMemory("dedicated", int(total_gib * GIB), int((total_gib - 0.5 if free_gib is None else free_gib) * GIB))


def unified(total_gib: float, pool: str = "host") -> GpuMemory:
    return GpuMemory("unified", int(total_gib * GIB), int((total_gib - 2) * GIB), pool)


def gpu(vendor: str, arch: str | None, memory: GpuMemory, *apis: str, **more: Any) -> Gpu:
    state = GpuState.USABLE if apis else GpuState.DRIVER
    return Gpu(vendor=vendor, name=f"{vendor} {arch}", arch=arch, memory=memory, apis=apis, state=state, **more)


def nvidia(arch: str, driver: str, gib: float, **more: Any) -> Gpu:
    return gpu("nvidia", arch, dedicated(gib), "cuda", driver=driver, integrated=False, **more)


def amd(arch: str, gib: float, *apis: str) -> Gpu:
    return gpu("amd", arch, dedicated(gib), *apis, integrated=False)


LINUX = Facts(
    os=OperatingSystem(system="Linux", distribution="ubuntu", arch="x86_64", libc=Libc("glibc", "2.39")),
    cpu=Cpu(cores_usable=8, isa=("avx", "avx2", "bmi2", "f16c", "fma")),
    memory=Memory(64 * GIB, 60 * GIB),
    disk=Disk("/", 500 * GIB),
)
ARM = replace(LINUX, os=replace(LINUX.os, arch="aarch64"), cpu=Cpu(cores_usable=8, isa=("asimd", "asimddp", "asimdhp")))
MAC = Facts(
    os=OperatingSystem(system="Darwin", arch="arm64", version="15.6"),
    cpu=Cpu(cores_usable=8, isa=("asimd", "asimddp")),
    memory=Memory(16 * GIB, 12 * GIB),
    disk=Disk("/", 100 * GIB),
)
M1 = gpu("apple", "m1", GpuMemory("unified", 11 * GIB, 11 * GIB, "working-set"), "metal", integrated=True)
STRIX_HALO = gpu("amd", "gfx1151", unified(62.5, "gtt"), "rocm", "vulkan", integrated=True)
GB10 = gpu("nvidia", "12.1", unified(120), "cuda", driver="580.95.05", integrated=True)
ORIN = gpu("nvidia", "8.7", unified(30), "cuda", driver="540.4.0", integrated=True, l4t="36.4.3")
UHD = gpu("intel", "gen9", GpuMemory("unified"), "vulkan", integrated=True)
