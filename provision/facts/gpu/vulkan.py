"""The devices that the Vulkan loader lists, and those among them that are no GPU of their own."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from provision.domain.gpu import Gpu, VulkanDevice
from provision.facts.gpu import pci
from provision.facts.programs import finished
from provision.host.machine import Command, Machine

# Not its JSON: that covers one GPU a call, and goes into a file in the working directory.
SUMMARY = Command(("vulkaninfo", "--summary"), timeout_s=10)

SOFTWARE, TRANSLATION, VIRTUAL, OLD = "software", "translation layer", "virtual", "API older than 1.2"
DUPLICATE = "duplicate of "  # and the number of the device that counts instead
OLDEST_API = (1, 2)  # what ggml's Vulkan back end asks for

RADV, NVK, ANV, NVIDIA = "MESA_RADV", "MESA_NVK", "INTEL_OPEN_SOURCE_MESA", "NVIDIA_PROPRIETARY"
_DOZEN, _VENUS = "MESA_DOZEN", "MESA_VENUS"
_SOFTWARE_DRIVERS = ("MESA_LLVMPIPE", "GOOGLE_SWIFTSHADER")
_SOFTWARE_NAMES = ("llvmpipe", "SwiftShader")
_TRANSLATIONS = (_DOZEN, "MOLTENVK")
_PREFERRED = (RADV, NVIDIA, ANV)
# Drivers younger than the vulkaninfo of some distributions, which cannot name their identifiers.
_BY_NAME = {"NVK": NVK, "Dozen": _DOZEN, "venus": _VENUS}

# The loader has no driver, or none of its drivers has a device: two ways to say that there is nothing.
_NOTHING = ("ERROR_INCOMPATIBLE_DRIVER", "Found no drivers", "Failed to detect any valid GPUs")
_KINDS: Mapping[str, str] = {
    "PHYSICAL_DEVICE_TYPE_DISCRETE_GPU": "discrete",
    "PHYSICAL_DEVICE_TYPE_INTEGRATED_GPU": "integrated",
    "PHYSICAL_DEVICE_TYPE_VIRTUAL_GPU": "virtual",
    "PHYSICAL_DEVICE_TYPE_CPU": "cpu",
    "PHYSICAL_DEVICE_TYPE_OTHER": "other",
}
_DEVICES = re.compile(r"^Devices:\s*$", re.MULTILINE)
_GPU = re.compile(r"^GPU([0-9]{1,4}):[ \t\r]*$", re.MULTILINE)
_FIELD = re.compile(r"^[ \t]+(\w+)[ \t]*=(.*)$", re.MULTILINE)
_VERSION = re.compile(r"\b[0-9]{1,5}(?:\.[0-9]{1,7}){1,3}\b")
_ID = re.compile(r"0x[0-9a-f]{1,8}", re.IGNORECASE)
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


def read_devices(machine: Machine) -> tuple[VulkanDevice, ...] | None:
    """Run ``vulkaninfo``; ``None`` where it is not installed, an empty tuple where Vulkan has no device.

    Its standard error says nothing while it ends with 0: it complains of a missing display there.
    """
    result = finished(machine, SUMMARY)
    if result is None:
        return None
    if result.returncode == 0:
        return parse_summary(result.stdout)
    if any(sign in text for sign in _NOTHING for text in (result.stderr, result.stdout)):
        return ()
    told = (result.stderr.strip() or result.stdout.strip() or "nothing told").splitlines()[-1]
    raise ValueError(f"{SUMMARY.argv[0]} ended with {result.returncode}: {told[:300]}")


def parse_summary(text: str) -> tuple[VulkanDevice, ...]:
    """Parse ``vulkaninfo --summary``, in the order of the raw numbers; nothing is dropped yet.

    Raises ``ValueError`` for anything else.
    """
    start = _DEVICES.search(text)
    if start is None:
        raise ValueError("it has no list of devices")
    parts = _GPU.split(text[start.end() :])[1:]
    numbers = [int(number) for number in parts[::2]]
    if len(set(numbers)) != len(numbers):
        raise ValueError("it has a device twice")
    found = (_device(number, _fields(block)) for number, block in zip(numbers, parts[1::2], strict=True))
    return tuple(sorted(found, key=lambda device: device.index))


def _fields(block: str) -> dict[str, str]:
    return {name: value.strip() for name, value in _FIELD.findall(block)}


def _device(index: int, fields: Mapping[str, str]) -> VulkanDevice:
    name, kind, api = (fields.get(key) for key in ("deviceName", "deviceType", "apiVersion"))
    if not name or not kind or not api:
        raise ValueError(f"GPU{index} has no name, no type or no version")
    driver = _driver(fields)
    vendor_id, device_id = _number(fields.get("vendorID")), _number(fields.get("deviceID"))
    uuid = _UUID.fullmatch(fields.get("deviceUUID", ""))
    return VulkanDevice(
        index,
        name,
        _KINDS.get(kind),
        vendor_id,
        device_id,
        driver,
        _version(fields.get("driverVersion")) or _version(fields.get("driverInfo")),
        _version(api),
        uuid[0].lower() if uuid else None,
        pci_address(driver, uuid[0], vendor_id, device_id) if uuid else None,
    )


def _driver(fields: Mapping[str, str]) -> str | None:
    """Return the driver's identifier; a ``vulkaninfo`` older than the driver knows only its name."""
    identifier = fields.get("driverID", "")
    if identifier.startswith("DRIVER_ID_"):
        return identifier.removeprefix("DRIVER_ID_")
    name = fields.get("driverName", "")
    return _BY_NAME.get(name, name) or None


def _number(text: str | None) -> int | None:
    return int(text, 16) if text and _ID.fullmatch(text) else None


def _version(text: str | None) -> str | None:
    """Return the version; older programs print a number first, and the version in parentheses."""
    match = _VERSION.search(text or "")
    return match[0] if match else None


def pci_address(driver: str | None, uuid: str, vendor_id: int | None, device_id: int | None) -> str | None:
    """Return the PCI address in a device's UUID, for the Mesa drivers that put it there; ``None`` for others.

    RADV: four little-endian numbers, domain, bus, device and function. ANV and NVK put the card's own identifiers
    before it; ANV before 23 has a hash instead. An address counts only where those identifiers are the card's.
    """
    raw = bytes.fromhex(uuid.replace("-", ""))
    if driver == RADV:
        return _address(*(int.from_bytes(raw[at : at + 4], "little") for at in (0, 4, 8, 12)))
    ids_at = {ANV: 0, NVK: 2}.get(driver or "")
    if ids_at is None or (_short(raw, ids_at), _short(raw, ids_at + 2)) != (vendor_id, device_id):
        return None
    return _address(_short(raw, 6), raw[8], raw[9], raw[10])


def _short(raw: bytes, at: int) -> int:
    return int.from_bytes(raw[at : at + 2], "little")


def _address(domain: int, bus: int, device: int, function: int) -> str | None:
    """Format an address; nothing but a bridge is at the very first one."""
    if bus > 0xFF or device > 0x1F or function > 7 or not any((domain, bus, device, function)):
        return None
    return f"{domain:04x}:{bus:02x}:{device:02x}.{function:x}"


def drop_unsuited(devices: Sequence[VulkanDevice], gpus: Sequence[Gpu]) -> tuple[VulkanDevice, ...]:
    """Return ``devices`` with ``dropped`` filled where one is no GPU, or is one that another entry stands for.

    Two entries are one card where UUID or PCI address agree, or where they are of a model of which ``gpus`` holds
    exactly one; two cards of one model stay two. The entry of the best driver stays. A virtual GPU (Venus) counts
    only for somebody who asks for it.
    """
    judged = {device.index: replace(device, dropped=_unsuited(device)) for device in devices}
    kept: list[VulkanDevice] = []
    cards = Counter(gpu.device_id for gpu in gpus if gpu.device_id)
    for device in sorted(judged.values(), key=lambda device: (device.driver not in _PREFERRED, device.index)):
        if device.dropped is not None:
            continue
        first = next((other for other in kept if _is_same(device, other, cards)), None)
        if first is None:
            kept.append(device)
        else:
            judged[device.index] = replace(device, dropped=f"{DUPLICATE}{first.index}")
    return tuple(judged[index] for index in sorted(judged))


def _unsuited(device: VulkanDevice) -> str | None:
    if device.kind == "cpu" or device.driver in _SOFTWARE_DRIVERS or (device.name or "").startswith(_SOFTWARE_NAMES):
        return SOFTWARE
    if device.driver in _TRANSLATIONS:
        return TRANSLATION
    if device.kind == "virtual" or device.driver == _VENUS:
        return VIRTUAL
    api = tuple(int(part) for part in (device.api_version or "").split(".") if part)
    return OLD if api and api < OLDEST_API else None


def _is_same(device: VulkanDevice, other: VulkanDevice, cards: Mapping[str, int]) -> bool:
    if device.uuid == other.uuid and (device.uuid or "").strip("0-"):
        return True
    if device.pci and other.pci:
        return device.pci == other.pci
    ids = model_ids(device)
    return ids is not None and ids == model_ids(other) and cards.get(ids) == 1


def model_ids(device: VulkanDevice) -> str | None:
    """Return ``vendor:device`` as the PCI bus has it, ``None`` for what is on none, such as a software device."""
    if device.vendor_id not in pci.VENDORS or device.device_id is None:
        return None
    return f"{device.vendor_id:04x}:{device.device_id:04x}"
