"""Mutated headers are read or refused: never another exception, never much memory, never long."""

from __future__ import annotations

import io
import struct
import time
import tracemalloc
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from provision.artifacts.gguf import MAX_TENSORS, read_header
from provision.artifacts.gguf_shape import quantization_of, shape_of
from provision.errors import InvalidInputError, RefusedError
from tests.unit.artifacts.gguf_file import KEYS, array, gguf, model, number, string, tensor, text

MOST_MEMORY_BYTES = 4 << 20
LONGEST_S = 1.0
STRING = 8

# The header of SmolLM2, key by key in its order, with a hundredth of its vocabulary and the tensors of two layers.
SMOLLM2 = gguf(
    [
        *KEYS[:8],
        string("general.name", "SmolLM2 135M Instruct"),
        number("llama.feed_forward_length", 1536),
        number("llama.rope.dimension_count", 64),
        array("tokenizer.ggml.tokens", STRING, [text(f"Ġtoken{n}") for n in range(1100)]),
        array("tokenizer.ggml.token_type", 5, [struct.pack("<i", 1)] * 1100),
        array("tokenizer.ggml.merges", STRING, [text(f"Ġ t{n}") for n in range(1090)]),
        string("tokenizer.chat_template", "{% for message in messages %}" * 20),
    ],
    [
        tensor("token_embd.weight", [576, 64], 3, 0),
        tensor("blk.0.attn_k.weight", [576, 192], 3, 23_040),
        tensor("blk.1.attn_k.weight", [576, 192], 3, 92_160),
        tensor("output_norm.weight", [576], 0, 161_280),
    ],
    data=163_584,
)
HYBRID = model(
    "qwen35",
    layers=24,
    context=262_144,
    embedding=1024,
    heads=8,
    attention__head_count_kv=[0, 0, 0, 2] * 6,
    attention__sliding_window=512,
    attention__kv_lora_rank=64,
    full_attention_interval=4,
    ssm__inner_size=2048,
    ssm__state_size=128,
)
PLACES = {SMOLLM2: len(SMOLLM2) - 163_584, HYBRID: len(HYBRID) - 4096}

pytestmark = pytest.mark.fault("hostile-model")


def read_or_refuse(data: bytes) -> None:
    tracemalloc.start()
    start = time.process_time()
    try:
        header = read_header(io.BytesIO(data), len(data))
        assert isinstance(quantization_of(header), (str, type(None)))
        assert shape_of(header).layers > 0
    except (InvalidInputError, RefusedError):
        pass
    finally:
        took_s = time.process_time() - start
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < MOST_MEMORY_BYTES
    assert took_s < LONGEST_S


def test_the_headers_that_are_mutated_are_good_ones() -> None:
    for data in PLACES:
        assert shape_of(read_header(io.BytesIO(data), len(data))).layers in (24, 30)


@settings(max_examples=300)
@given(st.data())
def test_a_mutated_header_is_read_or_refused(data: Any) -> None:
    whole = data.draw(st.sampled_from(list(PLACES)))
    mutated = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, min(600, PLACES[whole])) | st.integers(0, PLACES[whole]))
        mutated[at : at + data.draw(st.sampled_from([0, 1, 4, 8]))] = data.draw(st.binary(max_size=8))
    read_or_refuse(bytes(mutated))


@settings(max_examples=200)
@given(st.integers(0, 700), st.sampled_from([2**7, 2**15, 2**31 - 1, 2**32, 2**40, 2**63, 2**64 - 1]))
def test_a_length_that_lies_is_read_or_refused(at: int, value: int) -> None:
    """Any place that could hold a length holds an extreme one."""
    read_or_refuse(SMOLLM2[:at] + struct.pack("<Q", value) + SMOLLM2[at + 8 :])


@settings(max_examples=100)
@given(st.binary(max_size=400))
@example(b"\3\0\0\0" + b"\xff" * 16)
def test_anything_after_the_magic_is_read_or_refused(data: bytes) -> None:
    read_or_refuse(b"GGUF" + data)


def test_a_header_as_large_as_it_may_be_is_read_in_a_second() -> None:
    words = array("tokenizer.ggml.tokens", STRING, [b"\3\0\0\0\0\0\0\0abc"] * (1 << 20))
    merges = array("tokenizer.ggml.merges", STRING, [bytes(8)] * (1 << 20))
    tensors = [tensor(f"blk.{n}.weight", [8], 0, 32 * n) for n in range(MAX_TENSORS)]
    data = gguf([words, merges], tensors, data=32 * MAX_TENSORS)
    start = time.process_time()
    header = read_header(io.BytesIO(data), len(data))
    assert time.process_time() - start < LONGEST_S, "a third of a second on a slow machine"
    assert header.tensors.parameters == 8 * MAX_TENSORS
