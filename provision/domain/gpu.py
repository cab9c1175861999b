"""What a GPU is, how far it can be used, and what lists it. ``None`` means *not known*."""

from __future__ import annotations

from enum import Enum

from provision.domain.frozen import frozen


@frozen
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


@frozen
class GpuInstance:
    """A part of a GPU that engines are given instead of the whole (MIG)."""

    uuid: str | None = None
    name: str | None = None
    memory: GpuMemory = GpuMemory()


VENDOR_NAMES = {"nvidia": "NVIDIA", "amd": "AMD", "intel": "Intel", "apple": "Apple"}


@frozen
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

    @property
    def label(self) -> str:
        """What a sentence calls it."""
        return self.name or self.device_id or "the GPU"


@frozen
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


@frozen
class Vulkan:
    """What is there of Vulkan: the loader's path, the driver manifests whose library exists, the devices.

    ``devices`` is ``None`` where nobody asked, or no answer came.
    """

    loader: str | None = None
    drivers: tuple[str, ...] = ()
    devices: tuple[VulkanDevice, ...] | None = None


@frozen
class ListedDevice:
    """One device that an installed engine lists. ``api`` is as in ``Gpu.apis``, ``None`` for what is no GPU (BLAS)."""

    identifier: str
    api: str | None
    name: str
    total_bytes: int
    free_bytes: int
