"""Layers divided between a GPU and main memory."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from provision.domain.facts import Memory
from provision.domain.model import Model, ModelShape
from provision.select.budget import Budget
from provision.select.fit import fit
from tests.unit.select.known_models import GIB, LLAMA_70B, MODELS, SIZING, card, cpu, gpu, sized, spread_over


def test_layers_that_do_not_fit_stay_in_main_memory() -> None:
    """Llama 3.3 70B on 24 GB: half a gibibyte a layer, of which about 40 fit beside what the GPU computes with."""
    judged = fit(LLAMA_70B, 4096, 1, gpu(24, 23.5), SIZING, partial=True, host_budget=cpu(64, 60))
    assert (judged.verdict, judged.layers) == ("partial", 80)
    assert judged.layers_on_gpu is not None
    assert 38 <= judged.layers_on_gpu <= 42
    for missing in ({"partial": False}, {"host_budget": None}, {"host_budget": cpu(16, 15)}):
        options = {"partial": True, "host_budget": cpu(64, 60), **missing}
        judged = fit(LLAMA_70B, 4096, 1, gpu(24, 23.5), SIZING, **options)  # type: ignore[arg-type]
        assert (judged.verdict, judged.layers_on_gpu) == ("no", 0), missing


def test_memory_that_is_shared_is_not_divided() -> None:
    pool = spread_over([card(31, 30, "unified", "host")], Memory(31 * GIB, 30 * GIB))
    assert fit(LLAMA_70B, 4096, 1, pool, SIZING, partial=True, host_budget=cpu(64, 60)).verdict == "no"


def test_what_belongs_to_no_layer_stays_in_main_memory() -> None:
    """More layers fit where a large part of the file is embeddings."""
    even = fit(LLAMA_70B, 4096, 1, gpu(24, 23.5), SIZING, partial=True, host_budget=cpu(64, 60)).layers_on_gpu
    known = replace(LLAMA_70B, weights_bytes=int(39.6 * GIB), layer_bytes=int(0.4 * GIB), other_bytes=int(7.6 * GIB))
    more = fit(known, 4096, 1, gpu(24, 23.5), SIZING, partial=True, host_budget=cpu(64, 60)).layers_on_gpu
    assert even is not None
    assert more is not None
    assert more > even


# Ten layers of 1 GiB and 2 GiB beside them. The engine computes with 0.5 + 0.05 x 12 = 1.1 GiB on a GPU and with
# 64 MiB + 0.1 x 12 GiB = 1.2625 GiB in main memory. With a cache, each layer has 1 GiB of it, and one more is kept.
TEN_LAYERS = replace(
    sized("ten", 12.0, ModelShape("any", 10, 0, 64, 64, 8192)),
    weights_bytes=12 * GIB,
    layer_bytes=GIB,
    other_bytes=2 * GIB,
)
WITH_CACHE = replace(TEN_LAYERS, shape=ModelShape("any", 10, 1024, 64, 64, 8192))


@pytest.mark.parametrize(
    ("model", "gpu_gib", "host_gib", "layers"),
    [
        (TEN_LAYERS, 6.11, 8.27, 5),  # main memory: 2 + 5 + 1.2625
        (TEN_LAYERS, 6.11, 8.26, 0),
        (TEN_LAYERS, 6.09, 9.27, 4),
        (TEN_LAYERS, 12.5, 8.0, 9),  # room for all ten, but not for what goes with all ten
        (TEN_LAYERS, 2.09, 64.0, 0),
        (WITH_CACHE, 6.11, 20.27, 2),  # GPU: 2 x (1 + 1) + 1 + 1.1; main memory: 2 + 8 x (1 + 1) + 1 + 1.2625
        (WITH_CACHE, 6.11, 20.26, 0),
        (WITH_CACHE, 6.09, 22.27, 1),
    ],
)
def test_layers_are_counted_on_both_sides(model: Model, gpu_gib: float, host_gib: float, layers: int) -> None:
    budget, host = Budget("dedicated", int(gpu_gib * GIB)), Budget("cpu", int(host_gib * GIB))
    judged = fit(model, 4096, 1, budget, SIZING, partial=True, host_budget=host)
    assert judged.layers_on_gpu == layers
    assert judged.verdict == ("partial" if layers else "no")


@settings(max_examples=200)
@given(MODELS, st.integers(1, 2**17), st.integers(0, 100 * GIB), st.integers(0, 100 * GIB), st.integers(0, 200 * GIB))
def test_a_larger_gpu_never_takes_fewer_layers(model: Model, context: int, one: int, other: int, host: int) -> None:
    few, many = (
        fit(model, context, 1, Budget("dedicated", usable), SIZING, partial=True, host_budget=Budget("cpu", host))
        for usable in sorted((one, other))
    )
    assert (few.layers_on_gpu or 0) <= (many.layers_on_gpu or 0)
