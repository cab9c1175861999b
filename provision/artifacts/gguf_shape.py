"""What the header of a GGUF file says of the model: its layers, what each keeps in the cache, its quantization.

The rules are those by which llama.cpp lays out its caches (``src/models/`` of ggml-org/llama.cpp, August 2026).
"""

from __future__ import annotations

from collections import Counter

from provision.artifacts.gguf import GgufHeader
from provision.artifacts.header_numbers import Numbers, is_number
from provision.domain.model import AttentionGroup, ModelShape
from provision.errors import InvalidInputError

MAX_LAYERS = 1 << 10
STATE_ELEMENT_BYTES = 4  # recurrent states are kept as 32-bit floats
_NOT_A_MODEL = "The file is not a language model."

_FILE_TYPES = {
    0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 7: "Q8_0", 8: "Q5_0", 9: "Q5_1", 10: "Q2_K", 11: "Q3_K_S",
    12: "Q3_K_M", 13: "Q3_K_L", 14: "Q4_K_S", 15: "Q4_K_M", 16: "Q5_K_S", 17: "Q5_K_M", 18: "Q6_K", 19: "IQ2_XXS",
    20: "IQ2_XS", 21: "Q2_K_S", 22: "IQ3_XS", 23: "IQ3_XXS", 24: "IQ1_S", 25: "IQ4_NL", 26: "IQ3_S", 27: "IQ3_M",
    28: "IQ2_S", 29: "IQ2_M", 30: "IQ4_XS", 31: "IQ1_M", 32: "BF16", 36: "TQ1_0", 37: "TQ2_0", 38: "MXFP4",
    39: "NVFP4", 40: "Q1_0",
}  # fmt: skip

# One layer in so many looks at everything, the last of each group; the others have a window. Files of these
# architectures do not say so themselves (load_arch_hparams of each in llama.cpp). A window of another
# architecture is not used by llama.cpp unless the file has a pattern.
_WINDOW_PERIODS = {
    "gemma2": 2, "gemma3": 6, "gemma3n": 5, "gpt-oss": 2, "cohere2": 4, "exaone4": 4, "llama4": 4, "olmo2": 4,
    "smallthinker": 4,
}  # fmt: skip
_WINDOWS = {"llama4": 8192}  # not in the file either
_DENSE_FIRST = ("smallthinker",)  # the first of each group looks at everything
# One layer in so many is attention, the others are recurrent, where the file does not say.
_ATTENTION_INTERVALS = {"qwen3next": 4, "qwen35": 4, "qwen35moe": 4}


def quantization_of(header: GgufHeader) -> str | None:
    """Return the name of the file's quantization, ``None`` where it is not a known one."""
    kind = header.keys.get("general.file_type")
    return _FILE_TYPES.get(kind) if isinstance(kind, int) else None


def shape_of(header: GgufHeader) -> ModelShape:
    """Return the numbers of the model. Raises ``InvalidInputError`` where a needed one is missing or impossible."""
    return _Shape(header).read()


class _Shape:
    def __init__(self, header: GgufHeader) -> None:
        architecture = header.keys.get("general.architecture")
        if not isinstance(architecture, str):
            raise _missing("general.architecture")
        self._keys = header.keys
        self._architecture = architecture
        self._numbers = Numbers(header.keys, _missing, f"{architecture}.")
        self._layers = self._numbers.need("block_count", least=1, most=MAX_LAYERS)

    def read(self) -> ModelShape:
        embedding, layers = self._numbers.need("embedding_length"), self._attention()
        groups = tuple(AttentionGroup(count, *what) for what, count in Counter(each for each in layers if each).items())
        largest = max(groups, key=lambda group: group.heads_kv * (group.key_length + group.value_length), default=None)
        alike = len(groups) == 1 and groups[0].layers == self._layers and groups[0].window is None
        return ModelShape(
            architecture=self._architecture,
            layers=self._layers,
            heads_kv=largest.heads_kv if largest else 0,
            key_length=largest.key_length if largest else 0,
            value_length=largest.value_length if largest else 0,
            context_length=self._numbers.need("context_length", least=1),
            attention=() if alike else groups,
            recurrent_bytes=self._recurrent_layers(layers) * self._state_bytes(embedding),
        )

    def _attention(self) -> list[tuple[int, int, int, int | None] | None]:
        """Return heads, lengths and window of every layer that has a KV cache, ``None`` for the others."""
        heads = self._each("attention.head_count")
        heads_kv = self._each("attention.head_count_kv", heads)
        window = self._numbers.maybe("attention.sliding_window")
        window = _WINDOWS.get(self._architecture, 0) if window is None else window
        windowed = self._windowed() if window else [False] * self._layers
        full, short = self._lengths_of(heads, ""), self._lengths_of(heads, "_swa")
        kept = self._keeps_a_cache()
        return [
            (*self._cached(count, short if swa else full), window if swa else None) if count and keeps else None
            for count, swa, keeps in zip(heads_kv, windowed, kept, strict=True)
        ]

    def _cached(self, heads_kv: int, lengths: tuple[int, int]) -> tuple[int, int, int]:
        """Latent attention caches one vector for all heads; files from before it was done so lack the key."""
        rank = self._numbers.maybe("attention.kv_lora_rank")
        if rank is None or self._numbers.maybe("attention.key_length_mla") is None:
            return heads_kv, *lengths
        rope = self._numbers.maybe("rope.dimension_count")
        return 1, lengths[0] if rope is None else rank + rope, 0

    def _lengths_of(self, heads: list[int], suffix: str) -> tuple[int, int]:
        """Return how long a key and a value are; layers with a window may have lengths of their own."""
        size = self._numbers.need("embedding_length") // next((count for count in heads if count), 1)
        names = [[f"attention.{part}_length{suffix}", f"attention.{part}_length"] for part in ("key", "value")]
        key, value = (next((n for each in two if (n := self._numbers.maybe(each)) is not None), size) for two in names)
        return key, value

    def _windowed(self) -> list[bool]:
        """Tell for each layer whether it has a window."""
        pattern = self._keys.get(f"{self._architecture}.attention.sliding_window_pattern")
        if isinstance(pattern, list) and len(pattern) >= self._layers:
            return [bool(each) for each in pattern[: self._layers]]
        period = pattern if is_number(pattern) else _WINDOW_PERIODS.get(self._architecture, 1)
        if period == 0:
            return [True] * self._layers
        full_at = 0 if self._architecture in _DENSE_FIRST else period - 1
        return [layer % period != full_at for layer in range(self._layers)]

    def _keeps_a_cache(self) -> list[bool]:
        """Tell for each layer whether it has a KV cache of its own.

        Not those that are recurrent, not those that use the cache of an earlier layer, and not those at the end that
        only predict further tokens.
        """
        recurrent = self._keys.get(f"{self._architecture}.attention.recurrent_layers")
        interval = self._numbers.maybe("full_attention_interval") or _ATTENTION_INTERVALS.get(self._architecture, 1)
        own = self._layers - (self._numbers.maybe("attention.shared_kv_layers") or 0) - self._predicting()
        if isinstance(recurrent, list) and len(recurrent) >= self._layers:
            return [layer < own and not recurrent[layer] for layer in range(self._layers)]
        return [layer < own and (layer + 1) % interval == 0 for layer in range(self._layers)]

    def _predicting(self) -> int:
        return self._numbers.maybe("nextn_predict_layers") or 0

    def _recurrent_layers(self, attention: list[tuple[int, int, int, int | None] | None]) -> int:
        """Every layer without a cache is recurrent; where all have one, each may be both (falcon-h1)."""
        without = sum(each is None for each in attention) - self._predicting()
        return without if without > 0 else self._layers

    def _state_bytes(self, embedding: int) -> int:
        """Return the state of one recurrent layer for one sequence: a convolution's, and Mamba's or RWKV's."""
        inner, state = self._numbers.maybe("ssm.inner_size"), self._numbers.maybe("ssm.state_size")
        if inner is not None and state is not None:
            tail = max(0, (self._numbers.maybe("ssm.conv_kernel") or 1) - 1)
            elements = tail * (inner + 2 * (self._numbers.maybe("ssm.group_count") or 0) * state) + inner * state
        elif (size := self._numbers.maybe("wkv.head_size")) is not None:
            elements = embedding * (size + (self._numbers.maybe("token_shift_count") or 2))
        else:
            elements = embedding * max(0, (self._numbers.maybe("shortconv.l_cache") or 1) - 1)
        return elements * STATE_ELEMENT_BYTES

    def _each(self, key: str, default: list[int] | None = None) -> list[int]:
        """Return one number for each layer."""
        value = self._keys.get(f"{self._architecture}.{key}")
        if value is None and default is not None:
            return default
        if isinstance(value, list) and len(value) >= self._layers and all(is_number(each) for each in value):
            return value[: self._layers]
        return [self._numbers.need(key)] * self._layers


def _missing(key: str) -> InvalidInputError:
    return InvalidInputError(f"The GGUF header has no usable {key}.", _NOT_A_MODEL)
