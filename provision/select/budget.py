"""How much of which memory a server may take."""

from __future__ import annotations

from collections.abc import Sequence

from provision.domain.facts import Memory
from provision.domain.frozen import frozen
from provision.domain.gpu import Gpu, GpuInstance, GpuMemory
from provision.domain.units import GIB, MIB
from provision.knowledge.sizing import Sizing

CPU, DEDICATED, UNIFIED = "cpu", "dedicated", "unified"
SET_ASIDE = "vram"  # a pool that the firmware took from main memory, which does not count it any more


@frozen
class Budget:
    """What a server may take of one kind of memory, in bytes; ``None`` where that is not known.

    ``kind`` is ``cpu``, ``dedicated`` or ``unified``, ``devices`` are the GPUs by UUID, PCI address or name, and
    ``total_bytes`` is all memory of theirs that a server could ever use. ``workers`` is among how many of them each
    layer is divided.
    """

    kind: str
    usable_bytes: int | None
    devices: tuple[str, ...] = ()
    total_bytes: int | None = None
    workers: int = 1


def budget_for_cpu(memory: Memory, sizing: Sizing) -> Budget:
    """Return what a server on the CPU may take of main memory."""
    whole = memory.reachable_bytes
    if memory.available_bytes is None or whole is None:
        return Budget(CPU, None, total_bytes=memory.total_bytes)
    reserve = min(sizing.budgets.cpu.bytes_of(whole), int(whole * sizing.budgets.small_share))
    return Budget(CPU, max(0, min(memory.available_bytes, whole) - reserve), total_bytes=whole)


def budgets_for_gpus(
    gpus: Sequence[Gpu], memory: Memory, sizing: Sizing, *, tensor_parallel: bool = False
) -> tuple[Budget, ...]:
    """Return what a server on these GPUs may take, the most last; before it come what fewer of the same cards give.

    Layers can be spread over unequal cards, at a small loss, and then over all of them. ``tensor_parallel`` needs
    equal cards, one, two, four or eight of them, as many as attention heads can be divided by, and uses as much of
    each as of the fullest.
    Where there are cards with memory of their own, GPUs that share main memory are left out. A process sees one MIG
    instance and no other GPU beside it: the largest one counts, where it is larger than all else. A card whose
    memory is not known cannot be counted on.
    """
    whole = [gpu for gpu in gpus if not gpu.partitioned]
    cards = [_dedicated(gpu.memory, device_key(gpu), sizing) for gpu in whole if _kind(gpu) == DEDICATED]
    shared = [_unified(gpu, memory, sizing) for gpu in whole if _kind(gpu) == UNIFIED]
    parts = [
        _dedicated(part.memory, device_key(part), sizing) for gpu in gpus if gpu.partitioned for part in gpu.instances
    ]
    known = [card for card in cards if card.usable_bytes is not None]
    several = (_in_step(known) if tensor_parallel else [_spread(known, sizing)]) if known else []
    most = max([*(several or _known(shared)), *_known(parts)], key=_usable, default=Budget(DEDICATED, _nothing(gpus)))
    fewer = several[: several.index(most)] if most in several else []
    return (*fewer, most)


def _nothing(gpus: Sequence[Gpu]) -> int | None:
    """No GPU at all is no memory; GPUs of which nothing is known may have any."""
    return None if gpus else 0


def _known(budgets: Sequence[Budget]) -> list[Budget]:
    return [budget for budget in budgets if budget.usable_bytes is not None]


def _kind(gpu: Gpu) -> str:
    if gpu.memory.kind in (DEDICATED, UNIFIED) or gpu.integrated is None:
        return gpu.memory.kind
    return UNIFIED if gpu.integrated else DEDICATED


def device_key(device: Gpu | GpuInstance) -> str:
    """Return what tells a GPU or an instance from all others: the key under which it is used."""
    return device.uuid or getattr(device, "pci", None) or device.name or "GPU"


def _dedicated(memory: GpuMemory, name: str, sizing: Sizing) -> Budget:
    rules, free = sizing.budgets, memory.free_bytes
    if free is None and memory.total_bytes is not None:
        free = int(memory.total_bytes * rules.free_unknown_share)
    if free is None:
        return Budget(DEDICATED, None, (name,))
    total = max(memory.total_bytes or 0, free)
    return Budget(DEDICATED, max(0, free - rules.dedicated.bytes_of(total)), (name,), total)


def _spread(cards: Sequence[Budget], sizing: Sizing) -> Budget:
    """Return the budget of one card, or of several that share the layers."""
    if len(cards) == 1:
        return cards[0]
    usable = sum(card.usable_bytes or 0 for card in cards)
    kept = 1 - sizing.budgets.layer_split_share
    return Budget(DEDICATED, int(usable * kept), _names(cards), sum(card.total_bytes or 0 for card in cards))


def _in_step(cards: Sequence[Budget]) -> list[Budget]:
    """Return the best budgets of one, two, four and eight equal cards that compute each layer together."""
    best = [max((_equal_share(cards, card, count) for card in cards), key=_usable) for count in _DIVISORS]
    return [budget for budget in best if budget.devices]


def _equal_share(cards: Sequence[Budget], like: Budget, count: int) -> Budget:
    """Return what ``count`` cards of the size of ``like`` have together, nothing where there are not so many.

    The emptiest are taken, by whole GiB: cards that idle differ by a few MiB, from minute to minute.
    """
    alike = (card for card in cards if card.total_bytes == like.total_bytes)
    equal = sorted(alike, key=lambda card: _usable(card) // GIB, reverse=True)[:count]
    if len(equal) < count:
        return Budget(DEDICATED, 0)
    return Budget(DEDICATED, min(map(_usable, equal)) * count, _names(equal), (like.total_bytes or 0) * count, count)


_DIVISORS = (1, 2, 4, 8)  # of the number of attention heads of nearly every model


def _usable(budget: Budget) -> int:
    return budget.usable_bytes or 0


def _names(budgets: Sequence[Budget]) -> tuple[str, ...]:
    return tuple(name for budget in budgets for name in budget.devices)


def _unified(gpu: Gpu, memory: Memory, sizing: Sizing) -> Budget:
    """Return the budget of a GPU whose memory is main memory, or a part that the firmware took from it."""
    pool, name = gpu.memory, (device_key(gpu),)
    if pool.pool == "working-set":
        return _working_set(pool, memory, sizing, name)
    free = pool.free_bytes
    if pool.pool != SET_ASIDE:  # main memory itself, which others are using too
        free = _least(free, memory.available_bytes)
    total = pool.total_bytes or memory.total_bytes
    if free is None or total is None:
        return Budget(UNIFIED, None, name, total)
    ram = memory.total_bytes or total
    reserve = min(sizing.budgets.unified.bytes_of(ram), int(total * sizing.budgets.small_share))
    return Budget(UNIFIED, max(0, free - reserve), name, total)


def _working_set(pool: GpuMemory, memory: Memory, sizing: Sizing, name: tuple[str, ...]) -> Budget:
    """What is free of it is main memory that is free, so the figure itself counts, and main memory limits it."""
    rule = sizing.budgets.working_set
    working_set = pool.free_bytes if pool.total_bytes is None else pool.total_bytes
    if working_set is None or memory.available_bytes is None:
        return Budget(UNIFIED, None, name, pool.total_bytes)
    large = (memory.total_bytes or working_set) >= rule.large_from_mib * MIB
    reserve = (rule.large_reserve_mib if large else rule.reserve_mib) * MIB
    return Budget(UNIFIED, max(0, min(working_set - reserve, memory.available_bytes)), name, pool.total_bytes)


def _least(first: int | None, second: int | None) -> int | None:
    known = [each for each in (first, second) if each is not None]
    return min(known, default=None)
