"""The devices that an installed ``llama-server`` lists: a second opinion on what detection found."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from provision.domain.facts import Facts
from provision.domain.gpu import Gpu, GpuState, ListedDevice
from provision.domain.units import MIB
from provision.engines.llamacpp_program import parse_devices
from provision.facts.programs import TIMEOUT_S, finished
from provision.facts.tools import LLAMA_SERVER
from provision.host.machine import Command, Machine

LIST_DEVICES = Command((LLAMA_SERVER, "--list-devices"), TIMEOUT_S)
# Two ways to count a card's memory differ by what the driver keeps for itself, which is far less than this.
TOLERANCE = 0.1


def read_devices(machine: Machine) -> tuple[ListedDevice, ...] | None:
    """Ask the ``llama-server`` on PATH; ``None`` where there is none. Raises as ``parse_devices`` and ``finished``."""
    result = finished(machine, LIST_DEVICES)
    return None if result is None else parse_devices(result.stdout)


def fill_free(gpus: Sequence[Gpu], listed: Sequence[ListedDevice]) -> tuple[Gpu, ...]:
    """Return ``gpus`` with the free memory of cards whose driver does not tell it, as Intel's.

    Names decide, and only where one GPU and one device of each interface have that name; of several figures the
    smallest counts.
    """
    by_name = Counter(_bare(gpu.name or "") for gpu in gpus)
    return tuple(_filled(gpu, listed) if gpu.name and by_name[_bare(gpu.name)] == 1 else gpu for gpu in gpus)


def _filled(gpu: Gpu, listed: Sequence[ListedDevice]) -> Gpu:
    same = [device for device in listed if device.api is not None and _bare(device.name) == _bare(gpu.name or "")]
    told_once = len({device.api for device in same}) == len(same) > 0
    if gpu.memory.kind != "dedicated" or gpu.memory.free_bytes is not None or not told_once:
        return gpu
    sizes = [device.free_bytes for device in same] + [gpu.memory.total_bytes] * (gpu.memory.total_bytes is not None)
    free = min(size for size in sizes if size is not None)
    return replace(gpu, memory=replace(gpu.memory, free_bytes=free), sources=(*gpu.sources, LLAMA_SERVER))


def _bare(name: str) -> str:
    """Return a name without marks, the driver's additions and words that only some programs write."""
    words = re.sub(r"\([^()]*\)", " ", name.lower()).split()
    return " ".join(word for word in words if word != "graphics")


def disagreement(listed: Sequence[ListedDevice], facts: Facts) -> str | None:
    """Tell where the list of a build with a GPU back end differs from ``facts``; ``None`` where they agree.

    Compared is each interface that the build lists devices of: their number, and the memory of cards that have their
    own. Back ends leave GPUs out that share main memory, an environment variable may hide others, and a process that
    sees one MIG instance sees no other GPU: those may be listed or not. A build that lists nothing disagrees with any
    GPU that detection holds for usable.
    """
    gpus = [gpu for gpu in facts.gpus if gpu.state is GpuState.USABLE]
    apis = list(dict.fromkeys(device.api for device in listed if device.api is not None))
    if not apis:
        expected = [gpu for gpu in gpus if gpu.masked is False]
        return f"the engine lists no GPU, detection found {_names(expected)}" if expected else None
    by_api = ((api, [device for device in listed if device.api == api]) for api in apis)
    told = (_compare(api, devices, [gpu for gpu in gpus if api in gpu.apis]) for api, devices in by_api)
    return next((text for text in told if text is not None), None)


def _compare(api: str, devices: Sequence[ListedDevice], gpus: Sequence[Gpu]) -> str | None:
    visible = [gpu for gpu in gpus if gpu.masked is False]
    cards = sum(gpu.integrated is not True for gpu in visible)
    fewest = min(1, len(visible)) if not cards or any(gpu.partitioned for gpu in visible) else cards
    most = sum(len(gpu.instances) if gpu.partitioned else 1 for gpu in gpus)
    if not fewest <= len(devices) <= most:
        return f"for {api} the engine lists {_listed(devices)}, detection found {_names(gpus)}"
    return _compare_memory(api, devices, gpus)


def _compare_memory(api: str, devices: Sequence[ListedDevice], gpus: Sequence[Gpu]) -> str | None:
    """Compare only where every device is a card with memory of its own, the largest with the largest."""
    sizes = [gpu.memory.total_bytes for gpu in gpus if gpu.memory.kind == "dedicated" and not gpu.partitioned]
    known = sorted((size for size in sizes if size is not None), reverse=True)
    if not len(known) == len(gpus) == len(devices):
        return None
    ordered = sorted(devices, key=lambda device: device.total_bytes, reverse=True)
    for device, size in zip(ordered, known, strict=True):
        if abs(device.total_bytes - size) > TOLERANCE * size:
            found = f"detection {size // MIB} MiB"
            return f"for {api} the engine counts {device.total_bytes // MIB} MiB on {device.name}, {found}"
    return None


def _listed(devices: Sequence[ListedDevice]) -> str:
    return ", ".join(f"{device.identifier} ({device.name})" for device in devices)


def _names(gpus: Sequence[Gpu]) -> str:
    return ", ".join(gpu.name or gpu.pci or "a GPU" for gpu in gpus) or "none"
