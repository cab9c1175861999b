"""What the ``config.json`` of a Hugging Face model says: its layers, what each keeps in the cache, its number format.

The keys are those of the configuration classes in huggingface/transformers (August 2026). A layer of a kind that is
not known counts as one that keeps everything: too much rather than too little.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

from provision.artifacts.header_numbers import Numbers, is_number
from provision.domain.model import AttentionGroup, ModelShape
from provision.errors import InvalidInputError

CONFIG = "config.json"
MAX_CONFIG_BYTES = 1 << 22
MAX_LAYERS = 1 << 10
CACHE_FREE = ("linear_attention", "conv", "mamba", "mamba2", "recurrent", "moe", "mlp")
WINDOWED = ("sliding_attention", "chunked_attention", "local_attention")

# One layer in so many looks at everything, the last of each group, where `layer_types` is left to the class.
_WINDOW_PERIODS = {
    "gemma2": 2, "gemma3": 6, "gemma3_text": 6, "gemma3n_text": 5, "gemma4_text": 6, "gpt_oss": 2, "cohere2": 4,
    "exaone4": 4, "olmo3": 4, "llama4_text": 4,
}  # fmt: skip
_WINDOW_EVERYWHERE = ("mistral", "mixtral", "phi3", "starcoder2")
_ATTENTION_INTERVALS = {"qwen3_next": 4, "qwen3_5_text": 4, "qwen3_5_moe_text": 4}
# What published files leave to the defaults of the class.
_DEFAULTS: dict[str, dict[str, int]] = {
    "gemma3_text": {
        "num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 256, "max_position_embeddings": 131072,
        "vocab_size": 262208,
    },
    "gemma4_text": {"global_head_dim": 512},
}  # fmt: skip
_NUMBER_FORMATS = {"bfloat16": "BF16", "float16": "F16", "float32": "F32"}
_STATE_ELEMENT_BYTES = 4


class _Layer(NamedTuple):
    heads_kv: int
    key_length: int
    value_length: int
    window: int | None


def read_config(directory: Path) -> dict[str, Any]:
    """Return the model's configuration, that of its language part where there are several.

    Raises ``InvalidInputError`` where it is not one JSON object.
    """
    with (directory / CONFIG).open("rb") as file:
        return parse_config(file.read(MAX_CONFIG_BYTES + 1))


def parse_config(data: bytes) -> dict[str, Any]:
    """Return the configuration in the bytes of a ``config.json``, as ``read_config`` does."""
    try:
        config = json.loads(data) if len(data) <= MAX_CONFIG_BYTES else None
    except (ValueError, RecursionError):
        config = None
    if not isinstance(config, dict):
        raise InvalidInputError(f"{CONFIG} is not a model's configuration.", "Download it again.")
    inner = next((part for name in ("text_config", "llm_config") if isinstance(part := config.get(name), dict)), {})
    merged = {**config, **inner}
    return {**_DEFAULTS.get(str(merged.get("model_type")), {}), **merged}


def quantization_of(config: dict[str, Any]) -> str | None:
    """Return the name of the weights' format, such as ``BF16``, ``FP8`` or ``AWQ-INT4``; ``None`` if not known."""
    said = config.get("quantization_config")
    if not isinstance(said, dict):
        return _NUMBER_FORMATS.get(str(config.get("torch_dtype") or config.get("dtype")).removeprefix("torch."))
    method = str(said.get("quant_method", ""))
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,32}", method):
        return None
    bits = said.get("bits", said.get("w_bit", 4))
    named = {"awq": f"AWQ-INT{bits}", "gptq": f"GPTQ-INT{bits}"} if is_number(bits) else {}
    return named.get(method) or _compressed(said) or method.upper()


def _compressed(said: dict[str, Any]) -> str | None:
    """Return what compressed-tensors says of the weights of its first group."""
    groups = said.get("config_groups")
    first = next(iter(groups.values()), None) if isinstance(groups, dict) else None
    weights = first.get("weights") if isinstance(first, dict) else None
    bits = weights.get("num_bits") if isinstance(weights, dict) else None
    if not isinstance(weights, dict) or not is_number(bits):
        return None
    return f"{'FP' if weights.get('type') == 'float' else 'INT'}{bits}"


def shape_of(config: dict[str, Any]) -> ModelShape:
    """Return the numbers of the model. Raises ``InvalidInputError`` that names what is missing."""
    return _Config(config).shape()


class _Config:
    def __init__(self, config: dict[str, Any]) -> None:
        self._config = config
        kind = config.get("model_type")
        if not isinstance(kind, str):
            raise _missing("model_type")
        self._kind = kind
        self._numbers = Numbers(config, _missing)
        self._layers = self._numbers.need("num_hidden_layers", least=1, most=MAX_LAYERS)

    def shape(self) -> ModelShape:
        kinds = self._kinds()
        layers = [
            self._layer(kind) for kind in kinds[: self._layers - (self._numbers.maybe("num_kv_shared_layers") or 0)]
        ]
        counted = Counter(each for each in layers if each)
        groups = tuple(AttentionGroup(count, *layer) for layer, count in counted.items())
        largest = max(counted, key=lambda each: each.heads_kv * (each.key_length + each.value_length), default=None)
        largest = largest or _Layer(0, 0, 0, None)
        alike = len(groups) == 1 and groups[0].layers == self._layers and groups[0].window is None
        return ModelShape(
            architecture=self._kind,
            layers=self._layers,
            heads_kv=largest.heads_kv,
            key_length=largest.key_length,
            value_length=largest.value_length,
            context_length=self._numbers.need("max_position_embeddings", least=1),
            attention=() if alike else groups,
            recurrent_bytes=sum(kind in CACHE_FREE for kind in kinds) * self._state_bytes(),
        )

    def _kinds(self) -> list[str]:
        """Return the kind of each layer, in the words of ``layer_types``."""
        said = self._config.get("layer_types", self._config.get("layers_block_type"))
        if isinstance(said, list) and len(said) >= self._layers:
            return [str(each) for each in said[: self._layers]]
        interval = self._numbers.maybe("full_attention_interval") or _ATTENTION_INTERVALS.get(self._kind)
        period = self._numbers.maybe("sliding_window_pattern") or _WINDOW_PERIODS.get(self._kind)
        if interval:
            return self._periodic(interval, "linear_attention")
        if period:
            return self._periodic(period, "sliding_attention")
        first = self._first_windowed()
        return ["full_attention" if layer < first else "sliding_attention" for layer in range(self._layers)]

    def _periodic(self, period: int, others: str) -> list[str]:
        return ["full_attention" if (layer + 1) % period == 0 else others for layer in range(self._layers)]

    def _first_windowed(self) -> int:
        """Return the number of the first layer from which all have a window."""
        if self._config.get("use_sliding_window") is True:
            return self._numbers.maybe("max_window_layers") or 0
        return 0 if self._kind in _WINDOW_EVERYWHERE else self._layers

    def _layer(self, kind: str) -> _Layer | None:
        """Return what a layer keeps, ``None`` for one without a KV cache."""
        if kind in CACHE_FREE:
            return None
        window = None
        if kind in WINDOWED:
            window = self._numbers.maybe("sliding_window") or self._numbers.maybe("attention_chunk_size")
        rank, rope = self._numbers.maybe("kv_lora_rank"), self._numbers.maybe("qk_rope_head_dim")
        if rank is not None and rope is not None:
            return _Layer(1, rank + rope, 0, window)
        heads = self._numbers.need("num_attention_heads")
        heads_kv = self._numbers.maybe("num_key_value_heads")
        length = self._numbers.maybe("head_dim") or self._numbers.need("hidden_size") // max(1, heads)
        if kind == "full_attention" and (wide := self._numbers.maybe("global_head_dim")):
            length = wide
            wide_heads = self._numbers.maybe("num_global_key_value_heads")
            heads_kv = wide_heads if wide_heads and self._config.get("attention_k_eq_v") else heads_kv
        return _Layer(heads if heads_kv is None else heads_kv, length, length, window)

    def _state_bytes(self) -> int:
        """Return the state of one gated-delta-net layer for one sequence; other recurrent ones are smaller still."""
        names = ("linear_num_key_heads", "linear_key_head_dim", "linear_num_value_heads", "linear_value_head_dim")
        keys, key, values, value = (self._numbers.maybe(name) or 0 for name in names)
        tail = max(0, (self._numbers.maybe("linear_conv_kernel_dim") or 1) - 1)
        return (values * key * value + tail * (2 * keys * key + values * value)) * _STATE_ELEMENT_BYTES


def _missing(key: str) -> InvalidInputError:
    return InvalidInputError(
        f"{CONFIG} has no usable {key}, without which nobody can tell how much memory the model needs.",
        "Use the model's own config.json, or a GGUF file of it.",
    )
