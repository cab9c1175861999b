"""Memory that our own server holds counts as free, because the next one takes its place. Pure."""

from __future__ import annotations

from dataclasses import replace

from provision.domain.facts import Facts
from provision.domain.gpu import Gpu
from provision.domain.selection import Selection


def with_ours_given_back(facts: Facts, served: Selection) -> Facts:
    """Return the facts as they would be without the server of ``served``, as far as its fit tells what it takes.

    What it takes of several GPUs is spread evenly over those that are not full.
    """
    need = served.fit.need_bytes
    if served.fit.budget_kind == "dedicated":
        cards = [gpu for gpu in facts.gpus if gpu.memory.free_bytes is not None and gpu.memory.kind == "dedicated"]
        share = need // max(1, len(cards))
        return replace(facts, gpus=tuple(_freer(gpu, share) if gpu in cards else gpu for gpu in facts.gpus))
    memory = facts.memory
    if memory.available_bytes is None:
        return facts
    available = memory.available_bytes + need
    most = memory.reachable_bytes
    return replace(facts, memory=replace(memory, available_bytes=available if most is None else min(most, available)))


def _freer(gpu: Gpu, share: int) -> Gpu:
    free = (gpu.memory.free_bytes or 0) + share
    total = gpu.memory.total_bytes
    return replace(gpu, memory=replace(gpu.memory, free_bytes=free if total is None else min(total, free)))
