"""Which hypervisor runs this machine, by what the firmware, the processor and the kernel's clocks say.

Sources: the kernel's Documentation/ABI/testing/sysfs-devices-system-cpu and sysfs-firmware-dmi; the order of the
questions is that of systemd-detect-virt(1), which is often not installed.
"""

from __future__ import annotations

from collections.abc import Collection

from provision.host.machine import Machine

FIRMWARE = "/sys/class/dmi/id"
CLOCKS_PATH = "/sys/devices/system/clocksource/clocksource0/available_clocksource"
DEVICE_TREE_PATH = "/proc/device-tree/hypervisor/compatible"
XEN_PATH = "/proc/xen/capabilities"
UNNAMED = "vm"

_X86 = ("x86_64", "amd64", "i386", "i686")
_EMULATOR = "qemu"

# Name, start of the firmware's vendor, start of its product. An empty start fits all.
_FIRMWARES = (
    ("amazon", "Amazon EC2", ""),
    ("google", "", "Google Compute Engine"),
    ("kvm", "", "KVM"),
    ("kvm", "KubeVirt", ""),
    ("vmware", "VMware", ""),
    ("virtualbox", "innotek GmbH", ""),
    ("virtualbox", "", "VirtualBox"),
    ("xen", "Xen", ""),
    ("hyper-v", "Microsoft Corporation", "Virtual Machine"),
    ("parallels", "Parallels", ""),
    ("bhyve", "", "BHYVE"),
    ("apple", "Apple Inc.", "Apple Virtualization"),
    (_EMULATOR, "QEMU", ""),
)
_CLOCKS = (("kvm-clock", "kvm"), ("hyperv_clocksource", "hyper-v"), ("xen", "xen"))
_DEVICE_TREES = (("linux,kvm", "kvm"), ("xen", "xen"), ("vmware", "vmware"))


def read_vm(machine: Machine, isa: Collection[str]) -> str | None:
    """Return the hypervisor, ``vm`` for one without a name, ``None`` where there is no sign of any.

    ``isa`` are the processor's features: x86 shows ``hypervisor`` there. A cloud's name stands for its hypervisor.
    QEMU that uses the kernel's KVM is ``kvm``; so is Firecracker, which has no firmware to name it.
    """
    vendor, product = (_firmware(machine, name) for name in ("sys_vendor", "product_name"))
    named = by_firmware(vendor, product)
    virtual = "hypervisor" in isa
    if named in ("amazon", "google"):
        hidden = not virtual and bool(isa) and machine.platform.machine.lower() in _X86
        return None if hidden or is_bare_metal(product) else named
    if named not in (None, _EMULATOR):
        return named
    if not virtual and named is None:
        return by_device_tree(machine.read_text(DEVICE_TREE_PATH) or "")
    clock = by_clocks(machine.read_text(CLOCKS_PATH) or "")
    if clock == "xen" and "control_d" in (machine.read_text(XEN_PATH) or ""):
        return None  # the domain that has the hardware
    return clock or named or UNNAMED


def _firmware(machine: Machine, name: str) -> str:
    return (machine.read_text(f"{FIRMWARE}/{name}") or "").strip()


def by_firmware(vendor: str, product: str) -> str | None:
    """Return the name for what the firmware calls maker and product."""
    for name, vendor_start, product_start in _FIRMWARES:
        if vendor.startswith(vendor_start) and product.startswith(product_start):
            return name
    return None


def is_bare_metal(product: str) -> bool:
    """Tell Amazon's machines without a hypervisor: ``c7g.metal``, ``m7i.metal-24xl``."""
    _, metal, size = product.partition(".metal")
    return bool(metal) and (not size or size.startswith("-"))


def by_clocks(text: str) -> str | None:
    """Return the hypervisor whose own clock the kernel offers."""
    return next((name for clock, name in _CLOCKS if any(word.startswith(clock) for word in text.split())), None)


def by_device_tree(text: str) -> str | None:
    """Return the hypervisor that an Arm device tree names, in strings that end with a zero byte."""
    return next((name for word, name in _DEVICE_TREES if word in text), UNNAMED if text.strip("\0 \n") else None)
