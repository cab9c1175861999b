"""Memory that our own server holds counts as free, because the next one takes its place. Pure."""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import replace

from provision.domain.facts import Facts, Memory
from provision.domain.gpu import Gpu, GpuInstance, GpuMemory
from provision.domain.selection import Fit, Selection
from provision.select.budget import DEDICATED, SET_ASIDE, device_key


def with_ours_given_back(facts: Facts, served: Selection) -> Facts:
    """Return the facts as they would be without the server of ``served``, as far as its fit tells what it takes.

    What it takes of GPUs is given back to those that it was fitted to, and to no others; of a partitioned one, to the
    instance. Where its selection names none, every GPU with memory of its own counts. What it takes of main memory,
    also through a GPU that shares it, is given back there.
    """
    fit, keys = served.fit, served.devices
    if fit.budget_kind == DEDICATED and not keys:
        keys = tuple(device_key(gpu) for gpu in facts.gpus if gpu.memory.kind == DEDICATED)
    used = [gpu for gpu in facts.gpus if device_key(gpu) in keys]
    share = _share(fit, _memories(facts.gpus, keys))
    facts = replace(facts, gpus=tuple(_freer(gpu, keys, share) for gpu in facts.gpus))
    if fit.budget_kind == DEDICATED or any(gpu.memory.pool == SET_ASIDE for gpu in used):
        return facts
    return replace(facts, memory=_main_memory(facts.memory, fit.need_bytes))


def _main_memory(memory: Memory, more: int) -> Memory:
    if memory.available_bytes is None:
        return memory
    available, most = memory.available_bytes + more, memory.reachable_bytes
    return replace(memory, available_bytes=available if most is None else min(most, available))


def _memories(gpus: Sequence[Gpu], keys: Container[str]) -> list[GpuMemory]:
    devices: list[Gpu | GpuInstance] = [*gpus, *(part for gpu in gpus for part in gpu.instances)]
    memories = (device.memory for device in devices if device_key(device) in keys)
    return [memory for memory in memories if memory.free_bytes is not None]


def _share(served: Fit, memories: Sequence[GpuMemory]) -> int:
    """Return how many bytes each GPU gives back at most.

    All that divide the layers among them hold the same. Whole layers are spread as the engine likes (Ollama fills one
    GPU where it can, llama.cpp takes more of a larger one): all give the same, and where one has less in use, the
    others more, so that together they have room again for what is served. Of a model that is partly in main memory
    they hold no more than they could.
    """
    if served.workers > 1:
        return served.need_bytes // served.workers
    left = need = served.need_bytes if served.budget_bytes is None else min(served.need_bytes, served.budget_bytes)
    used = sorted(_used(memory, need) for memory in memories)
    for emptied, most in enumerate(used):
        share = left // (len(used) - emptied)
        if share <= most:
            return share
        left -= most
    return need


def _used(memory: GpuMemory, need: int) -> int:
    """Return what is in use by anybody; where that is not known, it may be all that is needed."""
    total = memory.total_bytes
    return need if total is None else max(0, total - (memory.free_bytes or 0))


def _freer(gpu: Gpu, keys: Container[str], share: int) -> Gpu:
    parts = (
        replace(part, memory=_with(part.memory, share)) if device_key(part) in keys else part for part in gpu.instances
    )
    memory = _with(gpu.memory, share) if device_key(gpu) in keys else gpu.memory
    return replace(gpu, memory=memory, instances=tuple(parts))


def _with(memory: GpuMemory, share: int) -> GpuMemory:
    if memory.free_bytes is None:
        return memory
    free, total = memory.free_bytes + share, memory.total_bytes
    return replace(memory, free_bytes=free if total is None else min(total, free))
