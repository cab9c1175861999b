"""Caches against the sizes that llama.cpp itself logged.

Files of four architectures with these numbers and random weights were loaded by the pinned build of the engine
(xllamacpp 2026.10.11549), with two slots of 4096 tokens, one of 1024, and two of 384. What it logged as the sizes of
its caches, in MiB, is here; it prints two places.
"""

from __future__ import annotations

import io

import pytest

from provision.artifacts.gguf import read_header
from provision.artifacts.gguf_shape import shape_of
from provision.domain.model import Model
from provision.knowledge.sizing import load_sizing
from provision.select.need import need_of
from tests.unit.artifacts.gguf_file import model

MIB = 1 << 20
SLOTS = ((4096, 2), (1024, 1), (384, 2))
HEADS = {"attention__head_count_kv": 2, "attention__key_length": 32, "attention__value_length": 32}
SSM = {"conv_kernel": 4, "inner_size": 128, "state_size": 32, "time_step_rank": 4, "group_count": 2}
LATENT = {"head_count_kv": 1, "key_length": 48, "value_length": 32, "key_length_mla": 32, "value_length_mla": 16}
USUAL = {"context": 32_768, "embedding": 64, "heads": 4}

FILES = {
    "gemma3": (
        model("gemma3", layers=13, **USUAL, **HEADS, attention__sliding_window=256),
        (4.00 + 4.12, 0.50 + 2.06, 0.50 + 2.75),
    ),
    "gpt-oss": (
        model("gpt-oss", layers=6, **USUAL, **HEADS, attention__sliding_window=128),
        (6.00 + 1.12, 0.75 + 0.56, 0.75 + 0.75),
    ),
    "qwen3next": (
        model("qwen3next", layers=8, **USUAL, **HEADS, **{f"ssm__{name}": value for name, value in SSM.items()}),
        (4.00 + 0.22, 0.50 + 0.11, 0.50 + 0.22),
    ),
    "deepseek2": (
        model("deepseek2", layers=4, **USUAL, attention__kv_lora_rank=32, rope__dimension_count=16,
              **{f"attention__{name}": value for name, value in LATENT.items()}),
        (3.00, 0.38, 0.38),
    ),
}  # fmt: skip


@pytest.mark.parametrize(("file", "logged"), FILES.values(), ids=FILES.keys())
def test_caches_are_as_large_as_the_engine_says(file: bytes, logged: tuple[float, ...]) -> None:
    shape = shape_of(read_header(io.BytesIO(file), len(file)))
    sizing = load_sizing()
    tiny = Model("tiny", "tiny", "gguf", "F16", len(file), None, shape)
    for (context, parallel), expected in zip(SLOTS, logged, strict=True):
        need = need_of(tiny, context, parallel, kind="cpu", rule=sizing.engine("llamacpp"), sizing=sizing)
        assert need.cache / MIB == pytest.approx(expected, abs=0.011), (context, parallel)
