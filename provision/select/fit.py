"""Whether a model fits into memory: weights + KV cache + compute + reserve against the budget.

All figures in bytes. KV cache of llama.cpp without a unified cache: for every layer and token one key and one
value vector of 16-bit floats for each KV head. Compute: measured for llama.cpp on CPU with the default batch, it
grows slowly with the weights. The reserve is left to the rest of the machine.
"""

from __future__ import annotations

from provision.domain.facts import Memory
from provision.domain.model import Model
from provision.domain.selection import Fit

MIB = 1 << 20
GIB = 1 << 30
KV_ELEMENT_BYTES = 2
COMPUTE_BYTES = 64 * MIB
COMPUTE_SHARE = 0.10
COMPUTE_CAP_BYTES = 1536 * MIB
RESERVE_BYTES = 2 * GIB
RESERVE_SHARE = 0.10
COMFORTABLE_SHARE = 0.85


def kv_cache_bytes(model: Model, tokens: int) -> int:
    """Return the size of the KV cache for ``tokens`` tokens over all slots."""
    shape = model.shape
    return shape.layers * shape.heads_kv * (shape.key_length + shape.value_length) * KV_ELEMENT_BYTES * tokens


def budget_bytes(memory: Memory) -> int | None:
    """Return what a server on the CPU may take; ``None`` where memory is not known."""
    if memory.available_bytes is None or memory.total_bytes is None:
        return None
    whole = min(memory.total_bytes, memory.limit_bytes or memory.total_bytes)
    reserve = min(max(RESERVE_BYTES, int(whole * RESERVE_SHARE)), whole // 2)
    return max(0, memory.available_bytes - reserve)


def fit(model: Model, context: int, parallel: int, memory: Memory) -> Fit:
    """Judge ``model`` with ``parallel`` slots of ``context`` tokens on a CPU with this memory."""
    cache = kv_cache_bytes(model, context * parallel)
    compute = COMPUTE_BYTES + min(int(model.size_bytes * COMPUTE_SHARE), COMPUTE_CAP_BYTES)
    need = model.size_bytes + cache + compute
    budget = budget_bytes(memory)
    return Fit(_verdict(need, budget), need, budget, model.size_bytes, cache, context)


def _verdict(need: int, budget: int | None) -> str:
    if budget is None:
        return "unknown"
    if need <= budget * COMFORTABLE_SHARE:
        return "comfortable"
    return "fits" if need <= budget else "no"
