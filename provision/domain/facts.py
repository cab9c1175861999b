"""What a machine is. ``None`` means *not known*; a probe never guesses."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from provision.domain.finding import Finding


class Outcome(str, Enum):
    """How a probe ended. ``missing``: what it reads is not there. ``failed``: it is there, and makes no sense."""

    OK = "ok"
    MISSING = "missing"
    FAILED = "failed"


@dataclass(frozen=True)
class Probe:
    """The record of one probe, so that "why was this not seen" has an answer."""

    name: str
    outcome: Outcome
    duration_ms: float
    detail: str | None = None


@dataclass(frozen=True)
class Libc:
    """The C library: ``glibc`` or ``musl``, and its version."""

    name: str | None = None
    version: str | None = None


@dataclass(frozen=True)
class OperatingSystem:
    """The operating system as programs meet it."""

    system: str | None = None
    distribution: str | None = None
    version: str | None = None
    arch: str | None = None
    libc: Libc = Libc()
    kernel: str | None = None
    container: str | None = None
    wsl: int | None = None
    init: str | None = None


@dataclass(frozen=True)
class Cpu:
    """The processor. ``cores_usable`` is what this process may use: affinity and every cgroup quota.

    ``isa`` holds the kernel's own feature names (``avx2``, ``fma``, ``asimd`` …), sorted.
    """

    vendor: str | None = None
    model: str | None = None
    cores_physical: int | None = None
    cores_logical: int | None = None
    cores_usable: int | None = None
    isa: tuple[str, ...] = ()


@dataclass(frozen=True)
class Memory:
    """Main memory in bytes. ``limit_bytes`` is the smallest cgroup limit, ``None`` where there is none.

    ``available_bytes`` already respects that limit.
    """

    total_bytes: int | None = None
    available_bytes: int | None = None
    limit_bytes: int | None = None


@dataclass(frozen=True)
class Disk:
    """The file system that holds, or will hold, the prefix."""

    path: str
    free_bytes: int | None = None


@dataclass(frozen=True)
class GpuMemory:
    """``kind`` is ``dedicated``, ``unified`` or ``unknown``."""

    kind: str = "unknown"
    total_bytes: int | None = None
    free_bytes: int | None = None


@dataclass(frozen=True)
class Gpu:
    """One accelerator, by PCI address; ``state`` says how far it climbed: present, driver, usable."""

    vendor: str | None = None
    name: str | None = None
    pci: str | None = None
    arch: str | None = None
    integrated: bool | None = None
    state: str = "present"
    apis: tuple[str, ...] = ()
    memory: GpuMemory = GpuMemory()
    driver: str | None = None


@dataclass(frozen=True)
class Facts:
    """One snapshot of a machine: the input of every choice.

    ``libraries`` maps a shared library's name to the path where the loader would find it, or ``None``.
    """

    os: OperatingSystem = OperatingSystem()
    cpu: Cpu = Cpu()
    memory: Memory = Memory()
    disk: Disk = Disk(path="")
    gpus: tuple[Gpu, ...] = ()
    libraries: dict[str, str | None] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()
    probes: tuple[Probe, ...] = ()
