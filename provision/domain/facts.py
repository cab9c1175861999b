"""What a machine is. ``None`` means *not known*; a probe never guesses."""

from __future__ import annotations

from dataclasses import field
from enum import Enum

from provision.domain.finding import Finding
from provision.domain.fingerprint import RunningServer
from provision.domain.frozen import frozen
from provision.domain.gpu import Gpu, ListedDevice, Vulkan


class Outcome(str, Enum):
    """How a probe ended. ``missing``: what it reads is not there. ``failed``: it is there, and makes no sense."""

    OK = "ok"
    MISSING = "missing"
    FAILED = "failed"


@frozen
class Probe:
    """The record of one probe, so that "why was this not seen" has an answer."""

    name: str
    outcome: Outcome
    duration_ms: float
    detail: str | None = None


@frozen
class Libc:
    """The C library: ``glibc`` or ``musl``, and its version."""

    name: str | None = None
    version: str | None = None


@frozen
class OperatingSystem:
    """The operating system as programs meet it.

    ``container``, ``vm`` and ``wsl`` may hold at once. ``like`` are the distributions that this one is made from,
    nearest first; ``immutable`` says that packages cannot be added to the running system. ``user_services`` says
    whether a service manager of the user's own answers, ``linger`` whether it outlives the login. ``translated``
    says that this process runs through Rosetta.
    """

    system: str | None = None
    distribution: str | None = None
    version: str | None = None
    arch: str | None = None
    libc: Libc = Libc()
    kernel: str | None = None
    container: str | None = None
    wsl: int | None = None
    init: str | None = None
    like: tuple[str, ...] = ()
    variant: str | None = None
    immutable: bool | None = None
    package_manager: str | None = None
    vm: str | None = None
    user_services: bool | None = None
    linger: bool | None = None
    translated: bool | None = None


@frozen
class Cpu:
    """The processor. ``cores_usable`` is what this process may use: affinity and every cgroup quota.

    ``cores_performance`` are the physical cores of the fastest kind that this process may use, where there are
    several kinds. ``numa_nodes`` are the memory nodes that have processors. ``isa`` holds the kernel's own feature
    names (``avx2``, ``fma``, ``asimd`` …), sorted.
    """

    vendor: str | None = None
    model: str | None = None
    cores_physical: int | None = None
    cores_logical: int | None = None
    cores_usable: int | None = None
    isa: tuple[str, ...] = ()
    cores_performance: int | None = None
    numa_nodes: int | None = None


@frozen
class Memory:
    """Main memory in bytes. ``limit_bytes`` is the smallest cgroup limit, ``None`` where there is none.

    ``available_bytes`` already respects that limit. ``address_space_bytes`` is what one process may map
    (``ulimit -v``), ``None`` where that is not limited.
    """

    total_bytes: int | None = None
    available_bytes: int | None = None
    limit_bytes: int | None = None
    address_space_bytes: int | None = None

    @property
    def reachable_bytes(self) -> int | None:
        """What of it one process may use at all, free or not; ``None`` where that is not known."""
        if self.total_bytes is None:
            return None
        bounds = (self.total_bytes, self.limit_bytes, self.address_space_bytes)
        return min(each for each in bounds if each is not None)


@frozen
class Disk:
    """The file system that holds, or will hold, the prefix.

    ``network`` says that it lies on another machine, ``ram_backed`` that what is written to it takes main memory.
    """

    path: str
    free_bytes: int | None = None
    filesystem: str | None = None
    noexec: bool | None = None
    network: bool | None = None
    ram_backed: bool | None = None
    total_bytes: int | None = None


@frozen
class Network:
    """How the outside is reached.

    ``offline`` is true where the kernel has no route away from this machine, and false where it has one, which does
    not prove that anything answers. ``proxies`` maps ``http``, ``https`` and ``all`` to addresses without logins.
    """

    offline: bool | None = None
    proxies: dict[str, str] = field(default_factory=dict)
    no_proxy: str | None = None


@frozen
class Facts:
    """One snapshot of a machine: the input of every choice.

    ``libraries`` maps a shared library's name to the path where the loader would find it, or ``None``.
    ``gpu_env`` holds the environment variables that change what engines see of the GPUs, ``tools`` maps engines,
    container engines and vendors' programs that are on PATH to where they are. ``listed_devices`` are those that the
    ``llama-server`` on PATH lists, ``None`` where nobody asked, or no answer came. ``servers`` are the programs that
    listen where model servers usually do.
    """

    os: OperatingSystem = OperatingSystem()
    cpu: Cpu = Cpu()
    memory: Memory = Memory()
    disk: Disk = Disk(path="")
    gpus: tuple[Gpu, ...] = ()
    libraries: dict[str, str | None] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()
    probes: tuple[Probe, ...] = ()
    network: Network = Network()
    vulkan: Vulkan = field(default_factory=Vulkan)
    gpu_env: dict[str, str] = field(default_factory=dict)
    tools: dict[str, str] = field(default_factory=dict)
    listed_devices: tuple[ListedDevice, ...] | None = None
    servers: tuple[RunningServer, ...] = ()
