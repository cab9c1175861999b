"""What real models keep in their caches. The shapes are those of the published configurations."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provision.domain.model import AttentionGroup, Model, ModelShape
from provision.knowledge.sizing import load_sizing
from provision.select.need import Cache, kv_cache_bytes, need_of

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
SIZING = load_sizing()


def model(shape: ModelShape, weights: int = GIB, **own: object) -> Model:
    made = Model("m", "m", "gguf", "Q4_K_M", weights, None, shape)
    return replace(made, **own)  # type: ignore[arg-type]


LLAMA_8B = ModelShape("llama", 32, 8, 128, 128, 131_072)
GEMMA_3_27B = ModelShape(
    "gemma3", 62, 16, 128, 128, 131_072, (AttentionGroup(10, 16, 128, 128), AttentionGroup(52, 16, 128, 128, 1024))
)
GPT_OSS_20B = ModelShape(
    "gpt-oss", 24, 8, 64, 64, 131_072, (AttentionGroup(12, 8, 64, 64), AttentionGroup(12, 8, 64, 64, 128))
)
DEEPSEEK_V3 = ModelShape("deepseek2", 61, 1, 576, 0, 163_840)
QWEN_3_NEXT = ModelShape(
    "qwen3next", 48, 2, 256, 256, 262_144, (AttentionGroup(12, 2, 256, 256),), recurrent_bytes=79_036_416
)
SHAPES = (LLAMA_8B, GEMMA_3_27B, GPT_OSS_20B, DEEPSEEK_V3, QWEN_3_NEXT)


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
def test_the_kv_cache_of_smollm2(tokens: int, expected: int) -> None:
    assert kv_cache_bytes(model(ModelShape("llama", 30, 3, 64, 64, 8192)), tokens) == expected


@pytest.mark.parametrize(
    ("shape", "tokens", "expected"),
    [
        (LLAMA_8B, 1, 128 * KIB),
        (LLAMA_8B, 4096, 512 * MIB),
        (LLAMA_8B, 32_768, 4 * GIB),
        (GEMMA_3_27B, 1024, 496 * MIB),  # 62 layers x 16 x 256 x 2 bytes: as if there was no window
        (GEMMA_3_27B, 32_768, 10 * 8 * KIB * 32_768 + 52 * 8 * KIB * 1024),
        (GPT_OSS_20B, 131_072, 12 * 2 * KIB * 131_072 + 12 * 2 * KIB * 128),
        (DEEPSEEK_V3, 1, 61 * 576 * 2),
        (QWEN_3_NEXT, 1, 24 * KIB + 79_036_416),
        (QWEN_3_NEXT, 262_144, 6 * GIB + 79_036_416),
    ],
)
def test_the_caches_of_other_models(shape: ModelShape, tokens: int, expected: int) -> None:
    assert kv_cache_bytes(model(shape), tokens) == expected


def test_the_cache_that_vllm_reported_in_its_log() -> None:
    """vllm-project/vllm issue 12330: 11.12 GiB of cache for Llama 3.1 8B are 91,095 tokens."""
    assert kv_cache_bytes(model(LLAMA_8B), 91_095) / GIB == pytest.approx(11.12, abs=0.005)


def test_llama_cpp_keeps_a_batch_beside_each_window_of_each_slot() -> None:
    """GPT-OSS: window 128 and a micro-batch of 512, rounded up to cells of 256, as llama.cpp logs it."""
    need = need_of(model(GPT_OSS_20B), 8192, 2, kind="dedicated", rule=SIZING.engine("llamacpp"), sizing=SIZING)
    assert need.cache == 2 * (12 * 2 * KIB * 8192 + 12 * 2 * KIB * 768)
    assert need.largest_cache == 2 * 2 * KIB * 8192


@pytest.mark.parametrize(("workers", "times"), [(1, 1), (2, 1), (8, 1), (16, 2)])
def test_each_worker_keeps_one_head_at_least(workers: int, times: int) -> None:
    assert kv_cache_bytes(model(LLAMA_8B), 100, Cache(workers=workers)) == times * kv_cache_bytes(model(LLAMA_8B), 100)


def test_a_state_is_kept_for_every_sequence() -> None:
    assert kv_cache_bytes(model(QWEN_3_NEXT), 100, Cache(sequences=3)) == 3 * kv_cache_bytes(model(QWEN_3_NEXT), 100)


@pytest.mark.parametrize(
    ("engine", "kind", "weights_gib", "compute_mib"),
    [
        ("llamacpp", "cpu", 0.0, 64),
        ("llamacpp", "cpu", 4.0, 64 + 409.6),
        ("llamacpp", "cpu", 100.0, 1600),
        ("llamacpp", "dedicated", 0.0, 512),
        ("llamacpp", "unified", 4.0, 512 + 204.8),
        ("llamacpp", "dedicated", 100.0, 1536),
        ("ollama", "dedicated", 4.0, 512 + 204.8),
        ("vllm", "dedicated", 15.0, 2048),
        ("vllm", "dedicated", 100.0, 10_240),
        ("nobody knows", "dedicated", 4.0, 512 + 204.8),
    ],
)
def test_what_engines_compute_with(engine: str, kind: str, weights_gib: float, compute_mib: float) -> None:
    sized = model(LLAMA_8B, int(weights_gib * GIB), format="safetensors")
    need = need_of(sized, 1024, 1, kind=kind, rule=SIZING.engine(engine), sizing=SIZING)
    assert need.compute == pytest.approx(compute_mib * MIB, abs=2)
    assert need.total == need.weights + need.cache + need.compute


@pytest.mark.parametrize(
    ("engine", "workers", "weights_gib", "each_mib"),
    [
        ("vllm", 1, 60.0, 6144),
        ("vllm", 2, 60.0, 3072),
        ("vllm", 4, 60.0, 2048),  # a tenth of the weights would be 1536: no process takes less than its floor
        ("vllm", 8, 60.0, 2048),
        ("llamacpp", 2, 4.0, 512 + 102.4),
        ("llamacpp", 2, 100.0, 1536),
    ],
)
def test_every_gpu_that_computes_a_part_of_each_layer_has_working_memory(
    engine: str, workers: int, weights_gib: float, each_mib: float
) -> None:
    sized = model(LLAMA_8B, int(weights_gib * GIB), format="safetensors")
    rule = SIZING.engine(engine)
    need = need_of(sized, 1024, 1, kind="dedicated", rule=rule, sizing=SIZING, workers=workers)
    assert need.compute == pytest.approx(workers * each_mib * MIB, abs=2 * workers)


def test_vllm_is_given_a_cache_that_holds_every_request_whole() -> None:
    for parallel in (1, 64):
        need = need_of(model(LLAMA_8B), 8192, parallel, kind="dedicated", rule=SIZING.engine("vllm"), sizing=SIZING)
        assert need.cache == parallel * GIB


@pytest.mark.parametrize(
    ("known", "weights"),
    [
        ({"parameters": 8_000_000_000}, 16_000_000_000),
        ({"quantization": "Q8_0"}, int(8_000_000_000 * 16 / 8.5008)),
        ({"quantization": "Q4_K_M"}, int(8_000_000_000 * 16 / 4.8944)),
        ({"quantization": None}, 32_000_000_000),
        ({"quantization": "F32"}, 8_000_000_000),
        ({"format": "safetensors"}, 8_000_000_000),
    ],
)
def test_vllm_unpacks_a_gguf_however_few_bits_it_has(known: dict[str, object], weights: int) -> None:
    packed = model(LLAMA_8B, 8_000_000_000, **known)
    needs = {
        engine: need_of(packed, 256, 1, kind="cpu", rule=SIZING.engine(engine), sizing=SIZING).weights
        for engine in ("vllm", "llamacpp")
    }
    assert needs == {"vllm": weights, "llamacpp": 8_000_000_000}


def test_weights_that_were_counted_are_used_instead_of_the_file() -> None:
    counted = model(LLAMA_8B, 5 * GIB, weights_bytes=4 * GIB)
    need = need_of(counted, 256, 1, kind="cpu", rule=SIZING.engine("llamacpp"), sizing=SIZING)
    assert need.weights == 4 * GIB


@given(
    st.sampled_from(SHAPES), st.integers(1, 10**6), st.integers(1, 10**6), st.integers(1, 16),
    st.sampled_from(["llamacpp", "vllm"]),
)  # fmt: skip
def test_more_context_and_more_slots_never_need_less(
    shape: ModelShape, one: int, other: int, parallel: int, engine: str
) -> None:
    rule = SIZING.engine(engine)
    short, long = (
        need_of(model(shape), tokens, parallel, kind="cpu", rule=rule, sizing=SIZING).total
        for tokens in sorted((one, other))
    )
    more = need_of(model(shape), max(one, other), parallel + 1, kind="cpu", rule=rule, sizing=SIZING).total
    assert short <= long <= more
