from __future__ import annotations

import io
import math
import struct
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from provision.artifacts.gguf import GgufHeader, read_header
from provision.artifacts.local_model import describe
from provision.errors import InvalidInputError

MOST_MEMORY_BYTES = 8 << 20
U8, I32, F32, BOOL, STRING, ARRAY, U64, F64 = 0, 5, 6, 7, 8, 9, 10, 12


def text(value: str) -> bytes:
    data = value.encode()
    return struct.pack("<Q", len(data)) + data


def number(name: str, value: int) -> bytes:
    return text(name) + struct.pack("<IQ", U64, value)


def string(name: str, value: str) -> bytes:
    return text(name) + struct.pack("<I", STRING) + text(value)


def array(name: str, kind: int, values: list[bytes]) -> bytes:
    return text(name) + struct.pack("<IIQ", ARRAY, kind, len(values)) + b"".join(values)


KEYS = [
    string("general.architecture", "llama"),
    number("general.file_type", 3),
    string("general.license", "apache-2.0"),
    number("llama.block_count", 30),
    number("llama.context_length", 8192),
    number("llama.embedding_length", 576),
    number("llama.attention.head_count", 9),
    number("llama.attention.head_count_kv", 3),
    array("tokenizer.ggml.tokens", STRING, [text(f"token {n}") for n in range(1500)]),
    array("tokenizer.ggml.scores", F32, [struct.pack("<f", n) for n in range(1500)]),
]


def tensor(name: str, dimensions: list[int], kind: int, offset: int) -> bytes:
    head = text(name) + struct.pack("<I", len(dimensions))
    return head + b"".join(struct.pack("<Q", d) for d in dimensions) + struct.pack("<IQ", kind, offset)


def gguf(
    keys: list[bytes] | None = None, tensors: list[bytes] | None = None, version: int = 3, data: int = 4096
) -> bytes:
    keys = KEYS if keys is None else keys
    tensors = [tensor("a", [32, 8], 0, 0), tensor("b", [32, 4], 2, 1024)] if tensors is None else tensors
    head = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(keys)) + b"".join(keys) + b"".join(tensors)
    padding = -len(head) % 32
    return head + bytes(padding) + bytes(data)


def read(data: bytes) -> GgufHeader:
    return read_header(io.BytesIO(data), len(data))


def test_the_numbers_of_a_model_are_read() -> None:
    header = read(gguf())
    assert header.quantization == "Q4_1"
    shape = header.shape()
    assert (shape.architecture, shape.layers, shape.context_length) == ("llama", 30, 8192)
    assert (shape.heads_kv, shape.key_length, shape.value_length) == (3, 64, 64)
    assert header.tensor_count == 2
    assert "tokenizer.ggml.tokens" in header.keys
    assert header.keys["tokenizer.ggml.tokens"] is None, "nobody needs the vocabulary"


def test_a_file_is_whole_when_its_last_tensor_is() -> None:
    whole = gguf(data=1024 + 72)  # the second tensor: 128 elements of Q4_0, 18 bytes for each 32
    assert read(whole).end_bytes == len(whole)
    with pytest.raises(InvalidInputError, match="cut short"):
        read(whole[:-1])


@pytest.mark.parametrize("at", [0, 3, 4, 7, 20, 30, 100, 5000])
def test_a_header_that_ends_early_is_refused(at: int) -> None:
    with pytest.raises(InvalidInputError):
        read(gguf()[:at])


def many(count: int) -> bytes:
    return b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + text("k") + struct.pack("<IIQ", ARRAY, U8, count)


def nested(depth: int) -> bytes:
    return (
        b"GGUF"
        + struct.pack("<IQQ", 3, 0, 1)
        + text("k")
        + struct.pack("<I", ARRAY)
        + struct.pack("<IQ", ARRAY, 1) * depth
    )


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"GGML" + bytes(100),
        gguf(version=1),
        gguf(version=4),
        b"GGUF" + struct.pack("<IQQ", 3, 2**63, 0),
        b"GGUF" + struct.pack("<IQQ", 3, 0, 2**63),
        b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + struct.pack("<Q", 2**60) + bytes(100),
        many(2**40),
        many(2**24),
        nested(1000),
        gguf([text("k") + struct.pack("<I", 99) + bytes(8)]),
        gguf([number("general.alignment", 0)]),
        gguf([number("general.alignment", 48)]),
        gguf([number("general.alignment", 2**40)]),
        gguf([string("general.alignment", "32")]),
        gguf(tensors=[tensor("t", [2**63, 2**63], 0, 0)]),
        gguf(tensors=[tensor("t", [32], 0, 2**63)]),
        gguf(tensors=[tensor("t", [1] * 9, 0, 0)]),
    ],
    ids=range(18),
)
def test_what_is_hostile_is_refused_without_memory_for_it(data: bytes) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(InvalidInputError):
            read(data)
        assert tracemalloc.get_traced_memory()[1] < MOST_MEMORY_BYTES
    finally:
        tracemalloc.stop()


def shapeless(*changed: bytes) -> bytes:
    names = [key[8 : 8 + struct.unpack("<Q", key[:8])[0]] for key in changed]
    kept = [key for key in KEYS if key[8 : 8 + struct.unpack("<Q", key[:8])[0]] not in names]
    return gguf([*kept, *changed])


def floating(name: str, value: float) -> bytes:
    return text(name) + struct.pack("<Id", F64, value)


@pytest.mark.parametrize(
    "data",
    [
        shapeless(string("llama.block_count", "many")),
        shapeless(number("general.architecture", 5)),
        shapeless(floating("llama.block_count", math.nan)),
        shapeless(floating("llama.context_length", math.inf)),
        shapeless(array("llama.attention.head_count", STRING, [text("x")])),
        gguf([string("general.architecture", "llama")]),
        gguf([]),
    ],
    ids=["text", "architecture", "not a number", "infinite", "list of text", "only a name", "nothing"],
)
def test_a_header_without_a_usable_shape_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidInputError):
        read(data).shape()


def test_a_quantization_that_is_not_known_is_not_guessed() -> None:
    assert read(shapeless(number("general.file_type", 999))).quantization is None
    assert read(shapeless(array("general.file_type", U8, [b"\1"]))).quantization is None


def test_heads_that_differ_from_layer_to_layer_count_at_their_most() -> None:
    heads = array("llama.attention.head_count_kv", I32, [struct.pack("<i", n) for n in (1, 5, 3)])
    assert read(shapeless(heads)).shape().heads_kv == 5


def whole_reading(data: bytes, place: Path) -> Any:
    place.write_bytes(data)
    return describe(str(place))


WHOLE = gguf(KEYS[:8])


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_a_mutated_header_is_read_or_refused_in_little_memory(data: Any) -> None:
    mutated = bytearray(WHOLE)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, 420))
        mutated[at : at + data.draw(st.sampled_from([0, 1, 4, 8]))] = data.draw(st.binary(max_size=8))
    _read_or_refuse(bytes(mutated))


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=400))
@example(b"\3\0\0\0" + b"\xff" * 16)
def test_anything_after_the_magic_is_read_or_refused_in_little_memory(data: bytes) -> None:
    _read_or_refuse(b"GGUF" + data)


def _read_or_refuse(data: bytes) -> None:
    tracemalloc.start()
    try:
        header = read(data)
        assert isinstance(header.quantization, (str, type(None)))
        header.shape()
    except InvalidInputError:
        pass
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < MOST_MEMORY_BYTES


def test_a_file_of_the_users_is_described(tmp_path: Path) -> None:
    model = whole_reading(WHOLE, tmp_path / "mein modell.gguf")
    assert model.name == "mein modell"
    assert model.path == str(tmp_path / "mein modell.gguf")
    assert (model.size_bytes, model.license, model.sha256) == (len(WHOLE), "apache-2.0", None)


@pytest.mark.parametrize("what", ["missing", "directory", "empty"])
def test_what_is_no_file_is_named(tmp_path: Path, what: str) -> None:
    path = tmp_path / "model.gguf"
    if what == "directory":
        path.mkdir()
    elif what == "empty":
        path.touch()
    with pytest.raises(InvalidInputError, match=r"model\.gguf"):
        describe(str(path))
