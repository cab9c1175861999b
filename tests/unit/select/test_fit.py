from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from provision.domain.facts import Memory
from provision.domain.model import Model
from provision.select.budget import Budget, budgets_for_gpus
from provision.select.fit import fit, largest_context
from tests.unit.select.known_models import (
    GIB,
    GPT_OSS_20B,
    GPT_OSS_120B,
    LLAMA_8B,
    LLAMA_8B_BF16,
    LLAMA_70B,
    MIB,
    MODELS,
    QWEN_4B,
    SIZING,
    card,
    cpu,
    gpu,
    sized,
    spread_over,
)


@pytest.mark.parametrize(("context", "parallel"), [(512, 1), (4096, 2), (8192, 4)])
def test_need_is_weights_and_cache_of_all_slots_and_compute(model: Model, context: int, parallel: int) -> None:
    judged = fit(model, context, parallel, cpu(16, 12), SIZING)
    assert judged.weights_bytes == (model.weights_bytes or model.size_bytes)
    assert judged.kv_cache_bytes == 23_040 * context * parallel
    assert judged.compute_bytes == 64 * MIB + judged.weights_bytes // 10
    assert judged.need_bytes == judged.weights_bytes + judged.kv_cache_bytes + judged.compute_bytes
    assert (judged.context_length, judged.verdict, judged.budget_kind) == (context, "comfortable", "cpu")
    assert (judged.layers, judged.layers_on_gpu) == (30, 0)


@pytest.mark.parametrize(("kind", "share"), [("auto", 1), ("f16", 1), ("q8_0", 1.0625 / 2), ("q4_0", 0.5625 / 2)])
def test_a_quantized_cache_takes_less(model: Model, kind: str, share: float) -> None:
    judged = fit(model, 4096, 1, cpu(16, 12), SIZING.with_kv_cache(kind))
    assert judged.kv_cache_bytes == 23_040 * 4096 * share


@pytest.mark.parametrize(
    ("share", "verdict"), [(0.0, "no"), (0.99, "no"), (1.0, "fits"), (1.1, "fits"), (1.18, "comfortable")]
)
def test_the_verdict_follows_the_budget(model: Model, share: float, verdict: str) -> None:
    need = fit(model, 4096, 1, Budget("cpu", 16 * GIB), SIZING).need_bytes
    assert fit(model, 4096, 1, Budget("cpu", int(need * share)), SIZING).verdict == verdict


def test_unknown_memory_is_not_a_no(model: Model) -> None:
    judged = fit(model, 8192, 1, Budget("dedicated", None, total_bytes=24 * GIB), SIZING, engine="vllm", partial=True)
    assert (judged.verdict, judged.layers_on_gpu, judged.suggestion) == ("unknown", None, None)


# One machine for each way to choose an engine, and models that people run on it.
TABLE = {
    "M1 8 GB, 4B": (QWEN_4B, 4096, spread_over([card(5.3, 5.3, "unified", "working-set")],
                    Memory(8 * GIB, 6 * GIB)), "llamacpp", "comfortable"),
    "M1 8 GB, 8B": (LLAMA_8B, 4096, spread_over([card(5.3, 5.3, "unified", "working-set")],
                    Memory(8 * GIB, 6 * GIB)), "llamacpp", "no"),
    "A100 40 GB, vLLM, log of issue 12330": (LLAMA_8B_BF16, 8192, gpu(39.5, 39.1), "vllm", "comfortable"),
    "A10 24 GB, vLLM": (LLAMA_8B_BF16, 8192, gpu(22.5, 22.2), "vllm", "fits"),
    "RTX 4060 Ti 16 GB, vLLM": (LLAMA_8B_BF16, 8192, gpu(16, 15.6), "vllm", "no"),
    "MIG slice of 5 GB, vLLM": (LLAMA_8B_BF16, 4096, gpu(4.75, 4.7), "vllm", "no"),
    "GB10, large mixture": (GPT_OSS_120B, 8192, spread_over([card(119, 115, "unified", "host")],
                            Memory(119 * GIB, 115 * GIB)), "ollama", "comfortable"),
    "RTX 4090, 20B": (GPT_OSS_20B, 8192, gpu(24, 23.5), "ollama", "comfortable"),
    "RTX 4080 16 GB, 20B": (GPT_OSS_20B, 8192, gpu(16, 15.5), "ollama", "fits"),
    "RTX 3060 12 GB, 20B": (GPT_OSS_20B, 8192, gpu(12, 11.6), "ollama", "no"),
    "GTX 1060 6 GB, 8B": (LLAMA_8B, 4096, gpu(6, 5.8), "ollama", "no"),
    "two RTX 3090, 70B": (LLAMA_70B, 4096, spread_over([card(24, 23.7)] * 2, Memory()), "llamacpp", "fits"),
    "two RTX 3090, 70B, long": (LLAMA_70B, 32_768, spread_over([card(24, 23.7)] * 2, Memory()),
                                "llamacpp", "no"),
    "Strix Halo with 96 GB set aside": (GPT_OSS_120B, 8192, spread_over([card(96, 95, "unified", "vram")],
                                        Memory(31 * GIB, 27 * GIB)), "llamacpp", "comfortable"),
    "MI300X, 70B": (LLAMA_70B, 131_072, gpu(192, 191), "ollama", "comfortable"),
    "CPU with 16 GB, 8B": (LLAMA_8B, 4096, cpu(16, 13), "ollama", "comfortable"),
    "CPU with 8 GB, 8B": (LLAMA_8B, 4096, cpu(8, 7), "ollama", "no"),
}  # fmt: skip


@pytest.mark.parametrize(("model", "context", "budget", "engine", "verdict"), TABLE.values(), ids=TABLE.keys())
def test_machines_and_the_models_that_people_run_on_them(
    model: Model, context: int, budget: Budget, engine: str, verdict: str
) -> None:
    assert fit(model, context, 1, budget, SIZING, engine=engine).verdict == verdict


def test_vllm_takes_no_more_than_its_share_of_the_whole_card() -> None:
    assert fit(LLAMA_8B_BF16, 4096, 1, gpu(40, 39.5), SIZING, engine="vllm").budget_bytes == 36 * GIB
    assert fit(LLAMA_8B_BF16, 4096, 1, gpu(40, 20), SIZING, engine="vllm").budget_bytes == 20 * GIB - int(1.6 * GIB)
    assert fit(LLAMA_8B, 4096, 1, gpu(40, 39.5), SIZING).budget_bytes == int(39.5 * GIB) - int(1.6 * GIB)


def test_working_memory_counts_for_each_gpu_that_divides_the_layers_and_once_where_they_are_spread() -> None:
    cards = [card(80, 79)] * 4
    spread, divided = (budgets_for_gpus(cards, Memory(), SIZING, tensor_parallel=each)[-1] for each in (False, True))
    assert fit(LLAMA_8B_BF16, 4096, 1, divided, SIZING, engine="vllm").compute_bytes == 4 * 2048 * MIB
    one, four = (fit(LLAMA_8B, 4096, 1, budget, SIZING).compute_bytes for budget in (gpu(80, 79), spread))
    assert one == four


def test_a_no_says_what_would_fit() -> None:
    judged = fit(LLAMA_8B, 131_072, 1, gpu(12, 11.5), SIZING)
    assert judged.verdict == "no"
    # 10.5 GiB less 4.58 of weights and 0.73 of compute: 5.19 GiB of cache at 128 KiB a token, in steps of 1024
    assert judged.suggested_context == 41 * 1024
    assert judged.suggested_quantization is None, "the cache alone is larger than the card"
    assert judged.suggestion == "a context of 41984 tokens would fit"


def test_a_smaller_quantization_is_named_with_its_size() -> None:
    large = sized("llama-3.1-8b", 7.95, LLAMA_8B.shape, "Q8_0")
    judged = fit(large, 8192, 1, gpu(8, 7.8), SIZING)
    assert (judged.suggested_quantization, judged.suggested_context) == ("Q4_K_M", None)
    assert judged.suggestion == "Q4_K_M, about 4.6 GiB, would fit"
    judged = fit(LLAMA_8B_BF16, 8192, 1, gpu(16, 15.6), SIZING, engine="vllm")
    assert judged.suggested_quantization == "FP8"


def test_both_are_told_where_both_would_help() -> None:
    judged = fit(LLAMA_8B, 32_768, 1, gpu(8, 9.6), SIZING)
    assert judged.suggestion == "a context of 26624 tokens would fit; so would Q3_K_M, about 3.7 GiB"


@pytest.mark.parametrize("quantization", ["MXFP4", None, "Q2_K"])
def test_a_model_that_has_no_larger_form_is_not_told_to_shrink(quantization: str | None) -> None:
    judged = fit(replace(LLAMA_70B, quantization=quantization), 4096, 1, gpu(12, 11), SIZING)
    assert (judged.suggested_quantization, judged.suggestion) == (None, None)


def test_the_largest_context_is_never_more_than_the_model_was_trained_for(model: Model) -> None:
    assert largest_context(model, 1, cpu(16, 12), SIZING) == 8192
    short = replace(model, shape=replace(model.shape, context_length=800))
    assert largest_context(short, 1, cpu(16, 12), SIZING) == 800
    assert largest_context(model, 1, Budget("cpu", 0), SIZING) is None
    assert largest_context(model, 1, Budget("cpu", None), SIZING) is None


ENGINES = st.sampled_from(["llamacpp", "ollama", "vllm", "other"])
ROOM = st.none() | st.integers(0, 800 * GIB)


@settings(max_examples=400)
@given(
    model=MODELS,
    context=st.integers(1, 2**20),
    parallel=st.integers(1, 64),
    kind=st.sampled_from(["cpu", "dedicated", "unified"]),
    usable=ROOM,
    engine=ENGINES,
    host=ROOM,
)
def test_whatever_is_suggested_fits(
    *, model: Model, context: int, parallel: int, kind: str, usable: int | None, engine: str, host: int | None
) -> None:
    budget = Budget(kind, usable, total_bytes=usable)
    judged = fit(model, context, parallel, budget, SIZING, engine=engine, partial=True, host_budget=Budget("cpu", host))
    assert (judged.verdict == "unknown") == (usable is None)
    assert 0 <= (judged.layers_on_gpu or 0) <= (judged.layers or 0)
    if judged.verdict == "partial":
        assert kind == "dedicated"
        assert 0 < (judged.layers_on_gpu or 0) < (judged.layers or 0)
    if judged.suggested_context:
        assert judged.suggested_context <= model.shape.context_length
        again = fit(model, judged.suggested_context, parallel, budget, SIZING, engine=engine)
        assert again.verdict in ("comfortable", "fits")
        longer = judged.suggested_context + 1024
        if longer <= model.shape.context_length:
            assert fit(model, longer, parallel, budget, SIZING, engine=engine).verdict == "no"
    if judged.suggested_quantization:
        ladder = {each.name: each.bits for each in SIZING.quantizations[model.format]}
        share = ladder[judged.suggested_quantization] / ladder[str(model.quantization)]
        smaller = replace(model, size_bytes=int(model.size_bytes * share))
        assert share < 1
        assert fit(smaller, context, parallel, budget, SIZING, engine=engine).verdict in ("comfortable", "fits")
