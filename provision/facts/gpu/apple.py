"""The GPUs of a Mac: Metal's own figures on Apple's processors, the list of displays on Intel."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from provision.domain.facts import Facts
from provision.domain.gpu import Gpu, GpuMemory, GpuState, Obstacle
from provision.domain.units import GIB, MIB
from provision.facts import darwin
from provision.facts.gpu import pci
from provision.facts.json_text import parse_object
from provision.facts.probing import Recorder
from provision.facts.programs import CrashError, ask
from provision.host.machine import PROBE, Machine

METAL = (PROBE, "metal")
DISPLAYS = ("/usr/sbin/system_profiler", "SPDisplaysDataType", "-json")
NO_DEVICE = "Metal has no device"  # in the words of probes/metal.py
WIRED_LIMIT = "iogpu.wired_limit_mb"

# Reports of llama.cpp's users, who see this figure at every start: two thirds at 8, 16 and 32 GiB, three quarters at
# 36 (28991 MB), 64 and 128. Since macOS 26 it is more, which only Metal itself can say.
LARGE_BYTES = 36 * GIB

_MAX_BYTES = 1 << 60
_MAX_NAME = 200
_CHIP = re.compile(r"\bApple ([AM][0-9]{1,3})\b")
_SIZE = re.compile(r"([0-9]{1,7}) ([MG])B")
_DEVICE_ID = re.compile(r"0x[0-9a-f]{1,4}", re.IGNORECASE)
_ON_REQUEST = "on an Intel Mac, Metal is used only when asked for"


class MetalDevice(NamedTuple):
    """Metal's default device; ``working_set_bytes`` is what it may use without slowing down (Apple's figure)."""

    name: str
    working_set_bytes: int
    unified: bool


class MetalAnswer(NamedTuple):
    """What the probe said; no ``device`` means that Metal answered, and has none."""

    device: MetalDevice | None


class Stop(NamedTuple):
    """Metal hung or crashed."""

    obstacle: Obstacle
    detail: str


def read_gpus(machine: Machine, record: Recorder, so_far: Facts, sysctl: Mapping[str, str]) -> tuple[Gpu, ...]:
    """Return the GPUs of a Mac. ``sysctl`` holds the values of both of ``darwin``'s listings."""
    if darwin.is_arm(sysctl):
        stops: list[Stop] = []
        answer = record.run("metal", " ".join(METAL), lambda: _ask_metal(machine, stops), None)
        return (describe_gpu(answer or next(iter(stops), None), so_far, sysctl),)
    return record.run("displays", DISPLAYS[0], lambda: read_displays(machine), ())


def _ask_metal(machine: Machine, stops: list[Stop]) -> MetalAnswer | None:
    """Ask, and note why an engine would fare no better: that is no reason to take Metal for working."""
    try:
        return read_metal(machine)
    except TimeoutError:
        stops.append(Stop(Obstacle.TIMEOUT, "Metal did not answer in time"))
        raise
    except CrashError as error:
        stops.append(Stop(Obstacle.CRASHED, f"asking Metal failed: {error}"))
        raise


def read_metal(machine: Machine) -> MetalAnswer | None:
    """Ask Metal, in a process of its own."""
    text = ask(machine, METAL, "/usr/bin")
    return None if text is None else parse_metal(text)


def parse_metal(text: str) -> MetalAnswer:
    """Parse what the probe prints. Raises ``ValueError`` for its error, and for anything else."""
    document = parse_object(text)
    if "error" in document:
        if document["error"] == NO_DEVICE:
            return MetalAnswer(None)
        raise ValueError(str(document["error"])[:_MAX_NAME] or "no reason given")
    name, size, unified = (document.get(key) for key in ("name", "working_set_bytes", "unified"))
    if not isinstance(name, str) or not name or not isinstance(unified, bool):
        raise ValueError("it describes no device")
    if not isinstance(size, int) or isinstance(size, bool) or not 0 < size < _MAX_BYTES:
        raise ValueError("it has no size of the working set")
    return MetalAnswer(MetalDevice(name[:_MAX_NAME], size, unified))


def describe_gpu(answer: MetalAnswer | Stop | None, so_far: Facts, sysctl: Mapping[str, str]) -> Gpu:
    """Return an Apple processor's GPU; ``answer`` is ``None`` where nobody could ask Metal.

    Every such Mac has Metal, so that the GPU counts even then, with a working set after Apple's rule of thumb. Not
    in a virtual machine: many have no GPU. A limit that the owner set is among the ``sources``: Metal's figure
    follows it.
    """
    device = answer.device if isinstance(answer, MetalAnswer) else None
    chip = sysctl.get("machdep.cpu.brand_string") or None
    family = _CHIP.search(chip or "")
    usable = device is not None or (answer is None and so_far.os.vm is None)
    total = device.working_set_bytes if device else working_set(so_far.memory.total_bytes, sysctl)
    stop = answer if isinstance(answer, Stop) else Stop(Obstacle.NO_API, _why_not(answer))
    sources = ["sysctl"]
    if usable and total is not None:
        sources += ["metal" if device else "formula", *([WIRED_LIMIT] if darwin.number(sysctl, WIRED_LIMIT) else [])]
    return Gpu(
        vendor="apple",
        name=device.name if device else chip,
        arch=family[1].lower() if family else None,
        integrated=True,
        state=GpuState.USABLE if usable else GpuState.DRIVER,
        apis=("metal",) if usable else (),
        memory=_memory(device, total, so_far.memory.available_bytes) if usable else GpuMemory(),
        obstacle=None if usable else stop.obstacle,
        detail=None if usable else stop.detail,
        sources=tuple(sources),
    )


def _why_not(answer: MetalAnswer | None) -> str:
    return NO_DEVICE if answer else "Metal gave no answer in this virtual machine"


def _memory(device: MetalDevice | None, total: int | None, available: int | None) -> GpuMemory:
    """Free is never more than what programs can have of main memory, as it is the same memory."""
    kind = "unified" if device is None or device.unified else "unknown"
    free = None if total is None or available is None else min(total, available)
    return GpuMemory(kind, total, free, "working-set")


def working_set(ram_bytes: int | None, sysctl: Mapping[str, str]) -> int | None:
    """Return the size of the working set in bytes without Metal: the owner's limit, else a share of main memory."""
    limit_mib = darwin.number(sysctl, WIRED_LIMIT)
    if limit_mib:
        limit = min(limit_mib, _MAX_BYTES // MIB) * MIB
        return limit if ram_bytes is None else min(limit, ram_bytes)
    if ram_bytes is None:
        return None
    return ram_bytes * 3 // 4 if ram_bytes >= LARGE_BYTES else ram_bytes * 2 // 3


def read_displays(machine: Machine) -> tuple[Gpu, ...] | None:
    """Run ``system_profiler``, which takes seconds."""
    text = ask(machine, DISPLAYS, "/usr/sbin")
    return None if text is None else parse_displays(text)


def parse_displays(text: str) -> tuple[Gpu, ...]:
    """Parse ``system_profiler SPDisplaysDataType -json``. Raises ``ValueError`` for anything else.

    A GPU that Metal supports has ``metal`` among its ``apis`` and yet is not usable: on Intel Macs engines use it
    only when asked to, as it is often slower or wrong there. Apple's processors tell no memory.
    """
    entries = parse_object(text).get("SPDisplaysDataType")
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise ValueError("it has no list of displays")
    texts = [{key: value for key, value in entry.items() if isinstance(value, str)} for entry in entries]
    return tuple(_display_gpu(entry) for entry in texts if entry.get("sppci_device_type") == "spdisplays_gpu")


def _display_gpu(entry: Mapping[str, str]) -> Gpu:
    vendor, vendor_id = _vendor(entry.get("spdisplays_vendor", ""))
    device_id = entry.get("spdisplays_device-id", "")
    ids = f"{vendor_id:04x}:{int(device_id, 16):04x}" if vendor_id and _DEVICE_ID.fullmatch(device_id) else None
    own, shared = _size(entry.get("spdisplays_vram")), _size(entry.get("spdisplays_vram_shared"))
    on_chip = vendor == "apple" or shared is not None
    has_metal = entry.get("spdisplays_mtlgpufamilysupport", "").startswith("spdisplays_metal")
    return Gpu(
        vendor=vendor,
        name=entry.get("sppci_model") or entry.get("_name") or None,
        device_id=ids,
        integrated=True if on_chip else (False if own is not None else None),
        state=GpuState.DRIVER,
        apis=("metal",) if has_metal else (),
        memory=GpuMemory("unified", shared, None, "host")
        if on_chip
        else GpuMemory("dedicated" if own else "unknown", own),
        obstacle=None if has_metal else Obstacle.NO_API,
        detail=_ON_REQUEST if has_metal else None,
        sources=("system_profiler",),
    )


def _vendor(text: str) -> tuple[str | None, int | None]:
    """Newer systems write ``sppci_vendor_amd``, older ones ``ATI (0x1002)``. Apple's own are on no bus."""
    if "apple" in text.lower():
        return "apple", None
    number = pci.find_vendor(text)
    return pci.VENDORS.get(number or 0), number


def _size(text: str | None) -> int | None:
    match = _SIZE.fullmatch(text or "")
    return int(match[1]) * (GIB if match[2] == "G" else MIB) if match else None
