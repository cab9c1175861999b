"""GPUs as people know them. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from provision.domain.gpu import Gpu, GpuMemory
from provision.domain.units import GIB
from provision.select.budget import device_key


def device_names(devices: Sequence[Gpu], keys: Sequence[str] = ()) -> tuple[str, ...]:
    """Return GPUs by name, with the address that tells two of a kind apart.

    With ``keys``, only those are named that they stand for; of a partitioned GPU the instance.
    """
    return tuple(name for name, _ in _named(devices, keys))


def device_keys(devices: Sequence[Gpu]) -> set[str]:
    """Return the keys of GPUs, and of the instances of partitioned ones."""
    instances = (part for gpu in devices for part in gpu.instances)
    return {*map(device_key, devices), *map(device_key, instances)}


def device_lines(devices: Sequence[Gpu], keys: Sequence[str] = ()) -> tuple[str, ...]:
    """Return each GPU, or the instance that is used of it, with what counts in a choice."""
    return tuple(line for _, line in _named(devices, keys))


def why_unusable(gpu: Gpu) -> str:
    """Say what keeps a GPU from being used, as far as that is known; empty where nothing is."""
    if gpu.masked:
        return "an environment variable hides it"
    obstacle = gpu.obstacle.value.replace("-", " ") if gpu.obstacle else ""
    return ": ".join(filter(None, (obstacle, gpu.detail)))


def _named(devices: Sequence[Gpu], keys: Sequence[str]) -> Iterator[tuple[str, str]]:
    for gpu in devices:
        name = f"{gpu.name or gpu.device_id or 'GPU'}{f' at {gpu.pci}' if gpu.pci else ''}"
        whole = not keys or device_key(gpu) in keys
        if whole:
            yield name, _line(name, gpu, gpu.memory)
        for instance in gpu.instances:
            if not whole and device_key(instance) in keys:
                part = f"{instance.name or 'instance'} {instance.uuid or ''} of {name}".replace("  ", " ")
                yield part, _line(part, gpu, instance.memory)


def _line(name: str, gpu: Gpu, memory: GpuMemory) -> str:
    known = [
        gpu.arch and (f"compute capability {gpu.arch}" if gpu.vendor == "nvidia" else gpu.arch),
        gpu.driver and f"driver {gpu.driver}",
        memory.free_bytes is not None and f"{memory.free_bytes / GIB:.1f} GiB free",
    ]
    return f"{name}: {', '.join(str(word) for word in known if word)}".removesuffix(": ")
