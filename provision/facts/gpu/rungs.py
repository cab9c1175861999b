"""The first rungs that a GPU climbs, where the kernel's DRM drivers work alike: the driver, then its device nodes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from provision.domain.gpu import GpuState, Obstacle
from provision.facts.gpu.pci import DEVICES
from provision.host.machine import Machine

_NOUVEAU = ("nouveau", "nova")  # nova, the successor, comes in parts with names of their own
# Drivers that hold a device for a guest, so that no driver of this system can use it; some kernels add "xen-" before.
_STAND_INS = ("vfio-pci", "pci-stub", "pciback")
_RENDER_NODE = re.compile(r"renderD[0-9]{1,6}")


class Rung(NamedTuple):
    """Where the climb ended, and why; ``group`` is who may open the device node that this user may not."""

    state: GpuState
    obstacle: Obstacle | None = None
    detail: str | None = None
    group: str | None = None


def holds_for_guest(driver: str | None) -> bool:
    """Tell whether ``driver`` keeps a device for a virtual machine."""
    return driver is not None and driver.endswith(_STAND_INS)


def is_nouveau(driver: str | None) -> bool:
    """Tell whether ``driver`` is the open one for NVIDIA's cards, or its successor."""
    return driver is not None and driver.lower().startswith(_NOUVEAU)


def check_driver(driver: str | None, known: Sequence[str], legacy: Sequence[str]) -> Rung | None:
    """Return where a GPU with ``driver`` stops, ``None`` where it is one of ``known`` and the climb goes on."""
    if driver in known:
        return None
    if driver is None:
        return Rung(GpuState.PRESENT, Obstacle.NO_DRIVER)
    if holds_for_guest(driver):
        return Rung(GpuState.PRESENT, Obstacle.PASSED_THROUGH, driver)
    if driver in legacy:
        return Rung(GpuState.DRIVER, Obstacle.LEGACY_DRIVER, driver)
    return Rung(GpuState.PRESENT, Obstacle.UNKNOWN, f"bound to {driver}")


def check_nodes(machine: Machine, paths: Sequence[str]) -> Rung | None:
    """Return where a GPU stops that needs all of these device nodes, ``None`` where this user may use them."""
    found = {path: machine.access(path) for path in paths}
    missing = [path for path, access in found.items() if access is None]
    if missing:
        return Rung(GpuState.DRIVER, Obstacle.NO_DEVICE_NODES, ", ".join(missing))
    denied = {path: access for path, access in found.items() if access is not None and not access.allowed}
    if not denied:
        return None
    group = next((access.group for access in denied.values() if access.group), None)
    return Rung(GpuState.DRIVER, Obstacle.NO_PERMISSION, ", ".join(denied), group)


def render_node(machine: Machine, address: str) -> str | None:
    """Return the device node for computing, such as ``/dev/dri/renderD128``; ``None`` where the driver made none."""
    names = machine.list_dir(f"{DEVICES}/{address}/drm")
    return next((f"/dev/dri/{name}" for name in names if _RENDER_NODE.fullmatch(name)), None)


def read_number(machine: Machine, path: str, limit: int = 1 << 60) -> int | None:
    """Return the number that a file of the kernel's holds, ``None`` where there is no file.

    Raises ``ValueError`` for anything but digits, and for a number of ``limit`` or more.
    """
    text = machine.read_text(path)
    if text is None:
        return None
    if not re.fullmatch(r"[0-9]{1,20}", text.strip()) or int(text) >= limit:
        raise ValueError(f"{path} holds no such number")
    return int(text)
