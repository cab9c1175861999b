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


@dataclass(frozen=True)
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


@dataclass(frozen=True)
class Network:
    """How the outside is reached.

    ``offline`` is true where the kernel has no route away from this machine, and false where it has one, which does
    not prove that anything answers. ``proxies`` maps ``http``, ``https`` and ``all`` to addresses without logins.
    """

    offline: bool | None = None
    proxies: dict[str, str] = field(default_factory=dict)
    no_proxy: str | None = None


@dataclass(frozen=True)
class GpuMemory:
    """``kind`` is ``dedicated``, ``unified`` or ``unknown``.

    ``pool`` says what unified memory is counted from: ``vram`` (a share that the firmware set aside), ``gtt``
    (main memory that the driver may map), ``host`` (main memory) or ``working-set`` (Apple's own figure).
    """

    kind: str = "unknown"
    total_bytes: int | None = None
    free_bytes: int | None = None
    pool: str | None = None


class GpuState(str, Enum):
    """How far a GPU climbed: the bus shows it, a kernel driver for it is bound, an engine can use it."""

    PRESENT = "present"
    DRIVER = "driver"
    USABLE = "usable"


class Obstacle(str, Enum):
    """Why a GPU did not climb further."""

    NO_DRIVER = "no-driver"
    NOUVEAU = "nouveau"
    LEGACY_DRIVER = "legacy-driver"
    PASSED_THROUGH = "passed-through"
    LIBRARY_MISMATCH = "library-mismatch"
    NOT_LOADED = "not-loaded"
    NO_LIBRARY = "no-library"
    NO_DEVICE_NODES = "no-device-nodes"
    NO_PERMISSION = "no-permission"
    LOST = "lost"
    NO_INSTANCE = "no-instance"
    NO_API = "no-api"
    TIMEOUT = "timeout"
    CRASHED = "crashed"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class GpuInstance:
    """A part of a GPU that engines are given instead of the whole (MIG)."""

    uuid: str | None = None
    name: str | None = None
    memory: GpuMemory = GpuMemory()


@dataclass(frozen=True)
class Gpu:
    """One accelerator, known by its PCI address (``dddd:bb:dd.f``) where it has one.

    ``arch`` is the compute capability (``8.9``), the gfx target (``gfx1100``), Intel's or Apple's family.
    ``device_id`` is ``vendor:device`` in hexadecimal. ``apis`` are those that it can be used through: ``cuda``,
    ``rocm``, ``vulkan``, ``level-zero``, ``metal``. ``driver`` is the version of ``driver_name``, ``cuda`` the newest
    CUDA that this driver runs. ``obstacle`` and ``detail`` say why it did not climb further. ``masked`` says that
    an environment variable hides it, ``None`` that one may: which GPU it means is not known. ``l4t`` is the release
    of Jetson Linux. With ``partitioned``, only its ``instances`` can be used. ``uvm`` says whether the node of unified
    memory, which CUDA needs beside the GPU's own, is there (NVIDIA only).
    """

    vendor: str | None = None
    name: str | None = None
    pci: str | None = None
    arch: str | None = None
    integrated: bool | None = None
    state: GpuState = GpuState.PRESENT
    apis: tuple[str, ...] = ()
    memory: GpuMemory = GpuMemory()
    driver: str | None = None
    driver_name: str | None = None
    device_id: str | None = None
    uuid: str | None = None
    cuda: str | None = None
    obstacle: Obstacle | None = None
    detail: str | None = None
    masked: bool | None = False
    partitioned: bool | None = None
    instances: tuple[GpuInstance, ...] = ()
    access_group: str | None = None
    l4t: str | None = None
    sources: tuple[str, ...] = ()
    uvm: bool | None = None


@dataclass(frozen=True)
class VulkanDevice:
    """One device that the Vulkan loader lists. ``index`` is its raw number; ``dropped`` says why it does not count.

    ``kind`` is ``discrete``, ``integrated``, ``virtual``, ``cpu`` or ``other``.
    """

    index: int
    name: str | None = None
    kind: str | None = None
    vendor_id: int | None = None
    device_id: int | None = None
    driver: str | None = None
    driver_version: str | None = None
    api_version: str | None = None
    uuid: str | None = None
    pci: str | None = None
    dropped: str | None = None


@dataclass(frozen=True)
class Vulkan:
    """What is there of Vulkan: the loader's path, the driver manifests whose library exists, the devices.

    ``devices`` is ``None`` where nobody asked, or no answer came.
    """

    loader: str | None = None
    drivers: tuple[str, ...] = ()
    devices: tuple[VulkanDevice, ...] | None = None


@dataclass(frozen=True)
class ListedDevice:
    """One device that an installed engine lists. ``api`` is as in ``Gpu.apis``, ``None`` for what is no GPU (BLAS)."""

    identifier: str
    api: str | None
    name: str
    total_bytes: int
    free_bytes: int


@dataclass(frozen=True)
class Facts:
    """One snapshot of a machine: the input of every choice.

    ``libraries`` maps a shared library's name to the path where the loader would find it, or ``None``.
    ``gpu_env`` holds the environment variables that change what engines see of the GPUs, ``tools`` maps engines,
    container engines and vendors' programs that are on PATH to where they are. ``listed_devices`` are those that the
    ``llama-server`` on PATH lists, ``None`` where nobody asked, or no answer came.
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
    vulkan: Vulkan = Vulkan()
    gpu_env: dict[str, str] = field(default_factory=dict)
    tools: dict[str, str] = field(default_factory=dict)
    listed_devices: tuple[ListedDevice, ...] | None = None
