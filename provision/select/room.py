"""Where a candidate would keep a model: in the memory of one or more GPUs, and in main memory. Pure."""

from __future__ import annotations

from provision.domain.facts import Facts
from provision.domain.frozen import frozen
from provision.domain.gpu import Gpu
from provision.domain.model import Model
from provision.select.budget import DEDICATED, Budget, budget_for_cpu, budgets_for_gpus
from provision.select.candidates import Candidate
from provision.select.knowledge import Knowledge


@frozen
class Room:
    """``budgets`` are those of the devices, the most last; ``host`` is main memory, for layers that do not fit."""

    budgets: tuple[Budget, ...]
    host: Budget

    @property
    def most(self) -> Budget:
        """What all devices together give."""
        return self.budgets[-1]

    def budgets_for(self, model: Model) -> tuple[Budget, ...]:
        """Return the budgets of as many GPUs as a layer of ``model`` can be divided among."""
        return tuple(budget for budget in self.budgets if _divides(model, budget.workers))


def room_of(candidate: Candidate, facts: Facts, knowledge: Knowledge) -> Room:
    """Return the room that a candidate has on this machine."""
    host = budget_for_cpu(facts.memory, knowledge.sizing)
    if not candidate.devices:
        return Room((host,), host)
    together = knowledge.engines[candidate.engine].tensor_parallel
    return Room(budgets_for_gpus(candidate.devices, facts.memory, knowledge.sizing, tensor_parallel=together), host)


def reached(candidate: Candidate, room: Room) -> int | None:
    """Return the bytes that tiers are compared with: free memory of GPUs, else what main memory can spare."""
    if room.most.kind != DEDICATED:
        return room.most.usable_bytes
    free = [_free(gpu) for gpu in candidate.devices]
    known = [each for each in free if each is not None]
    return sum(known) if known else room.most.usable_bytes


def _divides(model: Model, workers: int) -> bool:
    """Tell whether attention can be divided: by its KV heads, or each of those kept by several workers."""
    return all(group.heads_kv % workers == 0 or workers % group.heads_kv == 0 for group in model.shape.groups)


def _free(gpu: Gpu) -> int | None:
    if not gpu.instances:
        return gpu.memory.free_bytes
    return max((instance.memory.free_bytes or 0 for instance in gpu.instances), default=None)
