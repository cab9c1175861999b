from __future__ import annotations

from dataclasses import replace

import pytest

from provision.domain.facts import Memory
from provision.domain.model import Model
from provision.select.fit import budget_bytes, fit, kv_cache_bytes

MIB, GIB = 1 << 20, 1 << 30


@pytest.mark.parametrize(
    ("tokens", "expected"),
    [
        # 30 layers x 3 KV heads x (64 + 64) elements x 2 bytes = 23 040 bytes a token
        (1, 23_040),
        (512, 11_796_480),
        (4096, 94_371_840),
        (8192, 188_743_680),
    ],
)
def test_the_kv_cache_of_smollm2(model: Model, tokens: int, expected: int) -> None:
    assert kv_cache_bytes(model, tokens) == expected


@pytest.mark.parametrize(("context", "parallel"), [(512, 1), (4096, 2), (8192, 4)])
def test_need_is_weights_and_cache_of_all_slots_and_compute(model: Model, context: int, parallel: int) -> None:
    judged = fit(model, context, parallel, Memory(16 * GIB, 12 * GIB, None))
    assert judged.weights_bytes == 98_362_432
    assert judged.kv_cache_bytes == 23_040 * context * parallel
    assert judged.need_bytes == 98_362_432 + judged.kv_cache_bytes + 64 * MIB + 9_836_243
    assert judged.context_length == context
    assert judged.verdict == "comfortable"


@pytest.mark.parametrize(
    ("memory", "budget"),
    [
        (Memory(16 * GIB, 12 * GIB, None), 10 * GIB),  # 2 GiB stay free
        (Memory(64 * GIB, 60 * GIB, None), 60 * GIB - int(6.4 * GIB)),  # a tenth of a large machine
        (Memory(64 * GIB, 2 * GIB, 2 * GIB), 1 * GIB),  # a container: half of its limit
        (Memory(1 * GIB, 256 * MIB, None), 0),
        (Memory(None, None, None), None),
        (Memory(8 * GIB, None, None), None),
    ],
    ids=["usual", "large", "container", "full", "unknown", "half known"],
)
def test_the_budget_leaves_something_to_the_machine(memory: Memory, budget: int | None) -> None:
    assert budget_bytes(memory) == budget


@pytest.mark.parametrize(
    ("available", "verdict"), [(0, "no"), (1, "no"), (85, "fits"), (100, "fits"), (150, "comfortable")]
)
def test_the_verdict_follows_the_budget(model: Model, available: int, verdict: str) -> None:
    need = fit(model, 4096, 1, Memory(16 * GIB, 16 * GIB, None)).need_bytes
    share = {0: 0.0, 1: 0.99, 85: 1.0, 100: 1.1, 150: 1.2}[available]
    memory = Memory(16 * GIB, 2 * GIB + int(need * share) + (1 if share >= 1 else 0), None)
    assert fit(model, 4096, 1, memory).verdict == verdict


def test_unknown_memory_is_not_a_no(model: Model) -> None:
    assert fit(model, 8192, 1, Memory()).verdict == "unknown"


def test_twice_the_context_is_twice_the_cache(model: Model) -> None:
    wide = replace(model, shape=replace(model.shape, heads_kv=6))
    assert kv_cache_bytes(wide, 100) == 2 * kv_cache_bytes(model, 100) == kv_cache_bytes(model, 200)
