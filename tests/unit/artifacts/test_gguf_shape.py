"""What a header says of a model. Numbers of real models are those of their published configurations."""

from __future__ import annotations

import io
import math

import pytest

from provision.artifacts.gguf import read_header
from provision.artifacts.gguf_shape import quantization_of, shape_of
from provision.domain.model import AttentionGroup, ModelShape
from provision.errors import InvalidInputError
from tests.unit.artifacts.gguf_file import (
    STRING,
    U8,
    array,
    changed,
    floating,
    gguf,
    model,
    number,
    numbers,
    string,
    text,
    truths,
)


def shape(data: bytes) -> ModelShape:
    return shape_of(read_header(io.BytesIO(data), len(data)))


def quantization(data: bytes) -> str | None:
    return quantization_of(read_header(io.BytesIO(data), len(data)))


def test_the_numbers_of_a_model_are_read() -> None:
    read = shape(gguf())
    assert (read.architecture, read.layers, read.context_length) == ("llama", 30, 8192)
    assert (read.heads_kv, read.key_length, read.value_length) == (3, 64, 64)
    assert read.attention == (), "all layers are alike"
    assert quantization(gguf()) == "Q4_1"


def test_one_layer_in_six_of_gemma_3_looks_at_everything() -> None:
    own = {"attention__head_count_kv": 4, "attention__key_length": 256, "attention__value_length": 256}
    read = shape(
        model("gemma3", layers=34, context=131_072, embedding=2560, heads=8, attention__sliding_window=1024, **own)
    )
    assert set(read.attention) == {AttentionGroup(5, 4, 256, 256), AttentionGroup(29, 4, 256, 256, 1024)}


def test_every_second_layer_of_gpt_oss_has_a_window() -> None:
    own = {"attention__head_count_kv": 8, "attention__key_length": 64, "attention__value_length": 64}
    read = shape(
        model("gpt-oss", layers=24, context=131_072, embedding=2880, heads=64, attention__sliding_window=128, **own)
    )
    assert set(read.attention) == {AttentionGroup(12, 8, 64, 64), AttentionGroup(12, 8, 64, 64, 128)}


@pytest.mark.parametrize(("period", "full"), [(0, 0), (1, 24), (2, 12), (4, 6)])
def test_a_period_in_the_file_counts_before_the_usual_one(period: int, full: int) -> None:
    own = {"attention__sliding_window": 128, "attention__sliding_window_pattern": period}
    read = shape(model("gpt-oss", layers=24, context=4096, embedding=64, heads=8, **own))
    assert sum(group.layers for group in read.groups if group.window is None) == full
    assert sum(group.layers for group in read.groups) == 24


def test_a_window_that_the_engine_does_not_use_is_not_counted_on() -> None:
    read = shape(model("phi3", layers=32, context=4096, embedding=64, heads=8, attention__sliding_window=2047))
    assert read.attention == ()


def test_a_pattern_can_name_every_layer_and_windows_have_lengths_of_their_own() -> None:
    """Gemma 4 E2B: 35 layers, the last 20 without a cache of their own, every fifth one with the whole context."""
    pattern = truths("gemma4.attention.sliding_window_pattern", [n % 5 != 4 for n in range(35)])
    keys = [
        ("block_count", 35), ("context_length", 131_072), ("embedding_length", 1536), ("attention.head_count", 8),
        ("attention.head_count_kv", 1), ("attention.key_length", 512), ("attention.value_length", 512),
        ("attention.key_length_swa", 256), ("attention.value_length_swa", 256), ("attention.sliding_window", 512),
        ("attention.shared_kv_layers", 20),
    ]  # fmt: skip
    own = [number(f"gemma4.{key}", value) for key, value in keys]
    read = shape(gguf([string("general.architecture", "gemma4"), *own, pattern]))
    assert set(read.attention) == {AttentionGroup(3, 1, 512, 512), AttentionGroup(12, 1, 256, 256, 512)}


DEEPSEEK = {
    "layers": 61,
    "context": 163_840,
    "embedding": 7168,
    "heads": 128,
    "attention__kv_lora_rank": 512,
    "rope__dimension_count": 64,
}


def test_latent_attention_caches_one_vector_for_all_heads() -> None:
    own = {"attention__head_count_kv": 1, "attention__key_length": 576, "attention__value_length": 512}
    read = shape(model("deepseek2", **DEEPSEEK, **own, attention__key_length_mla=192, attention__value_length_mla=128))
    assert (read.layers, read.heads_kv, read.key_length, read.value_length) == (61, 1, 576, 0)


def test_older_files_of_such_models_cache_every_head() -> None:
    own = {"attention__head_count_kv": 128, "attention__key_length": 192, "attention__value_length": 128}
    read = shape(model("deepseek2", **DEEPSEEK, **own))
    assert (read.heads_kv, read.key_length, read.value_length) == (128, 192, 128)


@pytest.mark.parametrize("said", [{"full_attention_interval": 4}, {}])
def test_one_layer_in_four_of_qwen_3_next_is_attention_the_others_have_a_state(said: dict[str, int]) -> None:
    ssm = {"inner_size": 4096, "state_size": 128, "group_count": 16, "conv_kernel": 4, "time_step_rank": 32}
    own = {"attention__head_count_kv": 2, "attention__key_length": 256, "attention__value_length": 256, **said}
    own |= {f"ssm__{name}": value for name, value in ssm.items()}
    read = shape(model("qwen3next", layers=48, context=262_144, embedding=2048, heads=16, **own))
    assert read.attention == (AttentionGroup(12, 2, 256, 256),)
    # 32 heads of 128 x 128, and 3 steps of a convolution over 2 x 16 x 128 + 32 x 128 channels, of 4 bytes
    assert read.recurrent_bytes == 36 * 4 * (32 * 128 * 128 + 3 * 8192)


def test_layers_that_only_predict_further_tokens_have_neither_cache_nor_state() -> None:
    own = {"attention__head_count_kv": 2, "full_attention_interval": 4, "nextn_predict_layers": 1}
    own |= {"ssm__inner_size": 2048, "ssm__state_size": 128}
    read = shape(model("qwen35", layers=25, context=4096, embedding=1024, heads=8, **own))
    assert [group.layers for group in read.attention] == [6]
    assert read.recurrent_bytes == 18 * 4 * 2048 * 128


def test_recurrent_layers_can_be_named_one_by_one() -> None:
    own = [number(f"qwen35.{key}", value) for key, value in (("block_count", 4), ("context_length", 4096),
           ("embedding_length", 64), ("attention.head_count", 8))]  # fmt: skip
    named = truths("qwen35.attention.recurrent_layers", [True, False, False, True])
    read = shape(gguf([string("general.architecture", "qwen35"), *own, named]))
    assert [group.layers for group in read.attention] == [2]


def test_heads_that_differ_from_layer_to_layer_are_counted_layer_by_layer() -> None:
    """One layer in four of a hybrid is attention, with two sizes; layers without heads have a state instead."""
    heads = [0, 0, 0, 8, 0, 0, 0, 4]
    data = model(
        "granitehybrid", layers=8, context=4096, embedding=512, heads=16, attention__head_count_kv=heads,
        ssm__inner_size=1024, ssm__state_size=16,
    )  # fmt: skip
    read = shape(data)
    assert set(read.attention) == {AttentionGroup(1, 8, 32, 32), AttentionGroup(1, 4, 32, 32)}
    assert read.recurrent_bytes == 6 * 4 * 1024 * 16
    assert read.heads_kv == 8, "the largest, for who looks at one number"


def test_a_model_without_attention_has_a_state_and_no_cache() -> None:
    own = {"ssm__inner_size": 1536, "ssm__state_size": 16, "ssm__conv_kernel": 4}
    read = shape(model("mamba", layers=24, context=2**20, embedding=768, heads=0, **own))
    assert (read.heads_kv, read.attention) == (0, ())
    assert read.recurrent_bytes == 24 * 4 * (3 * 1536 + 1536 * 16)


@pytest.mark.parametrize(
    "data",
    [
        changed(string("llama.block_count", "many")),
        changed(number("general.architecture", 5)),
        changed(floating("llama.block_count", math.nan)),
        changed(floating("llama.context_length", math.inf)),
        changed(array("llama.attention.head_count", STRING, [text("x")])),
        changed(number("llama.block_count", 0)),
        changed(number("llama.block_count", 2**40)),
        changed(number("llama.context_length", 2**63)),
        changed(numbers("llama.attention.head_count", [1, 2])),
        gguf([string("general.architecture", "llama")]),
        gguf([]),
    ],
    ids=[
        "text", "architecture", "not a number", "infinite", "list of text", "no layers", "endless layers",
        "endless context", "too few layers", "only a name", "nothing",
    ],
)  # fmt: skip
def test_a_header_without_a_usable_shape_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidInputError):
        shape(data)


def test_a_quantization_that_is_not_known_is_not_guessed() -> None:
    assert quantization(changed(number("general.file_type", 999))) is None
    assert quantization(changed(array("general.file_type", U8, [b"\1"]))) is None
