"""What config.json says. The numbers are those of the published configurations of each model."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from provision.artifacts.hf_config import quantization_of, read_config, shape_of
from provision.domain.model import AttentionGroup, ModelShape
from provision.errors import InvalidInputError
from tests.unit.artifacts.hf_files import LLAMA_8B

GPT_OSS_20B = {
    "model_type": "gpt_oss", "num_hidden_layers": 24, "num_attention_heads": 64, "num_key_value_heads": 8,
    "head_dim": 64, "hidden_size": 2880, "max_position_embeddings": 131_072, "sliding_window": 128,
    "layer_types": ["sliding_attention", "full_attention"] * 12, "quantization_config": {"quant_method": "mxfp4"},
}  # fmt: skip
GEMMA_3_4B = {
    "model_type": "gemma3", "torch_dtype": "bfloat16", "vision_config": {"num_hidden_layers": 27},
    "text_config": {
        "hidden_size": 2560, "intermediate_size": 10_240, "model_type": "gemma3_text", "num_hidden_layers": 34,
        "sliding_window": 1024,
    },
}  # fmt: skip
DEEPSEEK_V3 = {
    "model_type": "deepseek_v3", "num_hidden_layers": 61, "num_attention_heads": 128, "num_key_value_heads": 128,
    "hidden_size": 7168, "kv_lora_rank": 512, "qk_rope_head_dim": 64, "max_position_embeddings": 163_840,
    "quantization_config": {"quant_method": "fp8", "fmt": "e4m3"},
}  # fmt: skip
QWEN_3_NEXT = {
    "model_type": "qwen3_next", "num_hidden_layers": 48, "num_attention_heads": 16, "num_key_value_heads": 2,
    "head_dim": 256, "hidden_size": 2048, "max_position_embeddings": 262_144, "full_attention_interval": 4,
    "linear_conv_kernel_dim": 4, "linear_key_head_dim": 128, "linear_num_key_heads": 16,
    "linear_num_value_heads": 32, "linear_value_head_dim": 128,
}  # fmt: skip


def read(tmp_path: Path, config: Any) -> dict[str, Any]:
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return read_config(tmp_path)


def shape(tmp_path: Path, config: dict[str, Any]) -> ModelShape:
    return shape_of(read(tmp_path, config))


def test_llama_is_alike_in_every_layer(tmp_path: Path) -> None:
    assert shape(tmp_path, LLAMA_8B) == ModelShape("llama", 32, 8, 128, 128, 131_072)


def test_layer_types_say_which_layers_have_a_window(tmp_path: Path) -> None:
    expected = {AttentionGroup(12, 8, 64, 64), AttentionGroup(12, 8, 64, 64, 128)}
    assert set(shape(tmp_path, GPT_OSS_20B).attention) == expected
    without = {key: value for key, value in GPT_OSS_20B.items() if key != "layer_types"}
    assert set(shape(tmp_path, without).attention) == expected, "the class says the same where the file does not"


def test_the_language_part_of_several_is_read_with_the_defaults_of_its_class(tmp_path: Path) -> None:
    read_shape = shape(tmp_path, GEMMA_3_4B)
    assert (read_shape.architecture, read_shape.layers, read_shape.context_length) == ("gemma3_text", 34, 131_072)
    assert set(read_shape.attention) == {AttentionGroup(5, 4, 256, 256), AttentionGroup(29, 4, 256, 256, 1024)}


def test_latent_attention_caches_one_vector_for_all_heads(tmp_path: Path) -> None:
    read_shape = shape(tmp_path, DEEPSEEK_V3)
    assert (read_shape.heads_kv, read_shape.key_length, read_shape.value_length) == (1, 576, 0)
    assert read_shape.attention == ()


def test_linear_layers_have_a_state_and_no_cache(tmp_path: Path) -> None:
    read_shape = shape(tmp_path, QWEN_3_NEXT)
    assert read_shape.attention == (AttentionGroup(12, 2, 256, 256),)
    assert read_shape.recurrent_bytes == 36 * 4 * (32 * 128 * 128 + 3 * 8192)


@pytest.mark.parametrize(
    ("changed", "windowed"),
    [
        ({"model_type": "mistral", "sliding_window": 4096}, 32),
        ({"model_type": "mistral", "sliding_window": None}, 0),
        ({"model_type": "qwen2", "sliding_window": 4096, "use_sliding_window": False}, 0),
        ({"model_type": "qwen2", "sliding_window": 4096, "use_sliding_window": True, "max_window_layers": 28}, 4),
        ({"model_type": "gemma2", "sliding_window": 4096}, 16),
        ({"model_type": "cohere2", "sliding_window": 4096, "sliding_window_pattern": 4}, 24),
        ({"model_type": "something new", "sliding_window": 4096}, 0),
        ({"model_type": "llama4_text", "attention_chunk_size": 8192}, 24),
        ({"layer_types": ["something new"] * 32, "sliding_window": 4096}, 0),
        ({"layer_types": ["chunked_attention"] * 3, "sliding_window": 4096}, 0),
    ],
    ids=["mistral 0.1", "mistral", "qwen2", "qwen2 on", "gemma2", "cohere2", "new", "llama4", "new layers", "few"],
)
def test_windows_without_layer_types(tmp_path: Path, changed: dict[str, Any], windowed: int) -> None:
    groups = shape(tmp_path, LLAMA_8B | changed).groups
    assert sum(group.layers for group in groups) == 32
    assert sum(group.layers for group in groups if group.window) == windowed


def test_full_layers_may_be_wider_and_the_last_ones_share(tmp_path: Path) -> None:
    own = {"model_type": "gemma4_text", "head_dim": 256, "sliding_window": 512, "num_kv_shared_layers": 20}
    own |= {
        "num_hidden_layers": 35,
        "num_key_value_heads": 1,
        "layer_types": (["sliding_attention"] * 4 + ["full_attention"]) * 7,
    }
    groups = set(shape(tmp_path, LLAMA_8B | own).attention)
    assert groups == {AttentionGroup(3, 1, 512, 512), AttentionGroup(12, 1, 256, 256, 512)}


@pytest.mark.parametrize(
    ("config", "name"),
    [
        (LLAMA_8B, "BF16"),
        ({"dtype": "float16"}, "F16"),
        ({"torch_dtype": "torch.float32"}, "F32"),
        ({}, None),
        (GPT_OSS_20B, "MXFP4"),
        (DEEPSEEK_V3, "FP8"),
        ({"quantization_config": {"quant_method": "awq", "bits": 4}}, "AWQ-INT4"),
        ({"quantization_config": {"quant_method": "gptq", "bits": 8}}, "GPTQ-INT8"),
        (
            {
                "quantization_config": {
                    "quant_method": "compressed-tensors",
                    "config_groups": {"group_0": {"weights": {"num_bits": 4, "type": "int"}}},
                }
            },
            "INT4",
        ),
        ({"quantization_config": {"quant_method": "x\n" * 50}}, None),
        ({"quantization_config": {}}, None),
    ],
)
def test_the_number_format_has_a_name(config: dict[str, Any], name: str | None) -> None:
    assert quantization_of(config) == name


@pytest.mark.parametrize(
    "key", ["model_type", "num_hidden_layers", "num_attention_heads", "hidden_size", "max_position_embeddings"]
)
@pytest.mark.parametrize("value", [None, "many", -1, True, 2**80, [1]])
def test_what_is_missing_is_named(tmp_path: Path, key: str, value: Any) -> None:
    with pytest.raises(InvalidInputError, match=key):
        shape(tmp_path, LLAMA_8B | {key: value if key != "model_type" else None})


@pytest.mark.parametrize(
    "data", [b"", b"[]", b"5", b"\xff\xfe", b"[" * 100_000, b'{"a": ' + b"9" * 5000 + b"}", b" " * (5 << 20)]
)
def test_what_is_no_configuration_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "config.json").write_bytes(data)
    with pytest.raises(InvalidInputError, match=r"config\.json"):
        read_config(tmp_path)


ANY = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 2**70) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=300)
@given(st.sampled_from([LLAMA_8B, GPT_OSS_20B, DEEPSEEK_V3, QWEN_3_NEXT]), st.data())
def test_any_value_of_any_key_is_read_or_refused(config: dict[str, Any], data: Any) -> None:
    keys = st.sampled_from([*config, "layer_types", "quantization_config", "sliding_window", "num_kv_shared_layers"])
    changed = config | data.draw(st.dictionaries(keys, ANY, max_size=3))
    quantization_of(changed)
    with suppress(InvalidInputError):
        assert shape_of(changed).layers > 0
