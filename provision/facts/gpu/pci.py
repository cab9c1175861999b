"""GPUs on the PCI bus, as the kernel lists them: the first rung, which needs no driver and no program."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from provision.domain.facts import OperatingSystem
from provision.facts.links import link_name
from provision.host.machine import Machine

DEVICES = "/sys/bus/pci/devices"
_PARAVIRTUAL = "/dev/dxg"  # how WSL 2 hands the GPUs of Windows through, none of which is on its bus
NVIDIA, AMD, INTEL = 0x10DE, 0x1002, 0x8086
VENDORS: Mapping[int, str] = {NVIDIA: "nvidia", AMD: "amd", INTEL: "intel"}
_NAMES: Mapping[str, int] = {"nvidia": NVIDIA, "amd": AMD, "ati": AMD, "radeon": AMD, "intel": INTEL}

# The base classes that GPUs have. MI300X is an accelerator: it has no display function at all.
DISPLAY, ACCELERATOR = 0x03, 0x12


class PciGpu(NamedTuple):
    """One PCI function of a GPU. ``address`` is ``dddd:bb:dd.f``, ``driver`` the kernel driver bound to it."""

    address: str
    vendor_id: int
    device_id: int
    driver: str | None = None
    revision: int | None = None

    @property
    def directory(self) -> str:
        """Where the kernel keeps its attributes."""
        return f"{DEVICES}/{self.address}"

    @property
    def ids(self) -> str:
        """Vendor and device in hexadecimal, such as ``10de:2684``."""
        return f"{self.vendor_id:04x}:{self.device_id:04x}"


def normalise_address(text: str) -> str:
    """Return a PCI address as the kernel writes it; NVIDIA's library prints a domain of eight digits.

    Raises ``ValueError`` for anything else.
    """
    domain, bus, rest = text.strip().lower().split(":")
    device, function = rest.split(".")
    return f"{int(domain, 16):04x}:{int(bus, 16):02x}:{int(device, 16):02x}.{int(function, 16):x}"


def find_vendor(text: str) -> int | None:
    """Return the vendor that is named first in a product's or a vendor's name, ``None`` for any other."""
    words = re.findall("[a-z]+", text.lower())
    return next((_NAMES[word] for word in words if word in _NAMES), None)


def read_gpus(machine: Machine) -> tuple[PciGpu, ...] | None:
    """Return the functions that are GPUs of the vendors that engines know, in the order of their addresses.

    Displays of server boards and of virtual machines have other vendors. ``None`` where there is no PCI bus.
    """
    addresses = machine.list_dir(DEVICES)
    if not addresses:
        return None
    found = (_read_gpu(machine, address) for address in addresses)
    return tuple(gpu for gpu in found if gpu is not None)


def _read_gpu(machine: Machine, address: str) -> PciGpu | None:
    directory = f"{DEVICES}/{address}"
    if read_base_class(machine, directory) not in (DISPLAY, ACCELERATOR):
        return None
    vendor, device = (_hexadecimal(machine, f"{directory}/{name}") for name in ("vendor", "device"))
    if vendor is None or vendor not in VENDORS or device is None:
        return None
    revision = _hexadecimal(machine, f"{directory}/revision")
    return PciGpu(address, vendor, device, link_name(machine, f"{directory}/driver"), revision)


def read_base_class(machine: Machine, directory: str) -> int | None:
    """Return the base class of the function with its attributes in ``directory``, ``None`` where it is not told."""
    kind = _hexadecimal(machine, f"{directory}/class")
    return None if kind is None else kind >> 16


def is_shared_by_windows(machine: Machine, system: OperatingSystem) -> bool:
    """Tell whether this is WSL 2 on a Windows that hands its GPUs through."""
    return system.wsl == 2 and machine.exists(_PARAVIRTUAL)


def _hexadecimal(machine: Machine, path: str) -> int | None:
    try:
        return int(machine.read_text(path) or "", 16)
    except ValueError:
        return None
