"""Putting together what the bus and what the library say of the same GPU; pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from provision.domain.facts import Memory
from provision.domain.gpu import Gpu, GpuInstance, GpuMemory, GpuState, Obstacle
from provision.facts.gpu.nvml import Answer, Device, Instance

_MIG_MARK = " MIG "
_ADDRESS_LENGTH = len("dddd:bb:dd.f")


def pair(gpus: Sequence[Gpu], devices: Sequence[Device]) -> list[tuple[Gpu | None, Device | None]]:
    """Return every GPU with what the library says of it, ``None`` on the side that knows nothing.

    The address tells which is which. A GPU without one, on a board or in an answer, fits where it alone is left;
    where several are left, those in the answer are the same GPUs as so many of the bus, and count once.
    """
    left = list(devices)
    pairs: list[tuple[Gpu | None, Device | None]] = []
    alone: list[Gpu] = []
    for gpu in gpus:
        device = _at(gpu.pci, left)
        if device is None:
            alone.append(gpu)
        else:
            left.remove(device)
            pairs.append((gpu, device))
    nameless = [device for device in left if device.pci is None]
    if len(alone) == 1 and (alone[0].pci is None or nameless) and len(left) == 1:
        return [*pairs, (alone[0], left[0])]
    return [*pairs, *((gpu, None) for gpu in alone[len(nameless) :]), *((None, device) for device in left)]


def _at(address: str | None, devices: Sequence[Device]) -> Device | None:
    """Some hypervisors give a domain that the library prints in full, and the kernel cut to 16 bits."""
    if address is None:
        return None
    whole = [device for device in devices if device.pci == address]
    cut = [device for device in devices if (device.pci or "")[-_ADDRESS_LENGTH:] == address]
    return whole[0] if whole else cut[0] if len(cut) == 1 else None


def describe(gpu: Gpu, device: Device, answer: Answer, host: Memory) -> Gpu:
    """Return ``gpu`` with what the library says of it, usable.

    Only a partitioned GPU without instances is one that the library lists and no program can use.
    """
    closed = device.mig is True and not device.instances
    memory = memory_of(gpu, device, host)
    return replace(
        gpu,
        name=device.name or gpu.name,
        pci=gpu.pci or device.pci,
        uuid=device.uuid or gpu.uuid,
        arch=device.compute_capability,
        integrated={"unified": True, "dedicated": False}.get(memory.kind),
        memory=memory,
        driver=answer.driver or gpu.driver,
        cuda=answer.cuda,
        partitioned=device.mig,
        instances=tuple(_instance(each) for each in device.instances),
        state=GpuState.DRIVER if closed else GpuState.USABLE,
        apis=() if closed else ("cuda",),
        obstacle=Obstacle.NO_INSTANCE if closed else None,
        detail="MIG is on, and nothing was created in it" if closed else None,
    )


def memory_of(gpu: Gpu, device: Device, host: Memory) -> GpuMemory:
    """Return a GPU's own memory, or main memory where it works in that.

    Grace Hopper addresses main memory as its own (ATS) and has memory of its own all the same: that counts.
    """
    if gpu.memory.kind == "unified" or (device.unified and device.memory is None):
        return host_memory(host)
    return GpuMemory() if device.memory is None else GpuMemory("dedicated", *device.memory)


def host_memory(host: Memory) -> GpuMemory:
    """Return main memory as the pool of a GPU that has none of its own."""
    return GpuMemory("unified", host.total_bytes, host.available_bytes, "host")


def _instance(instance: Instance) -> GpuInstance:
    """Return an instance by its profile (``1g.5gb``), which stands at the end of the name that the library gives."""
    profile = instance.name and instance.name.rpartition(_MIG_MARK)[2]
    memory = GpuMemory() if instance.memory is None else GpuMemory("dedicated", *instance.memory)
    return GpuInstance(instance.uuid, profile, memory)
