from __future__ import annotations

import io
import struct
import tracemalloc

import pytest

from provision.artifacts.gguf import GgufHeader, read_header
from provision.errors import InvalidInputError, RefusedError
from tests.unit.artifacts.gguf_file import ARRAY, F32, KEYS, STRING, U8, array, gguf, number, string, tensor, text

MOST_MEMORY_BYTES = 4 << 20


def read(data: bytes) -> GgufHeader:
    return read_header(io.BytesIO(data), len(data))


def test_what_nobody_needs_is_skipped() -> None:
    long = string("tokenizer.chat_template", "x" * 5000)
    header = read(gguf([*KEYS, long, string("general.name", "kept")]))
    assert header.keys["tokenizer.ggml.tokens"] is None
    assert header.keys["tokenizer.ggml.scores"] is None
    assert header.keys["tokenizer.chat_template"] is None
    assert header.keys["general.name"] == "kept", "what comes after is read from the right place"


@pytest.mark.parametrize("size", [0, 1, 65_520, 65_536, 65_537, 200_000, 1_000_000])
def test_a_string_in_a_skipped_array_may_be_of_any_length(size: int) -> None:
    words = array("words", STRING, [text("a" * size), text("b"), text("c" * size)])
    header = read(gguf([words, number("after", 7)]))
    assert header.keys["after"] == 7


def test_tensors_are_counted_layer_by_layer() -> None:
    table = [
        tensor("token_embd.weight", [256, 4], 12, 0),  # Q4_K: 144 bytes for 256 elements
        tensor("blk.0.attn_q.weight", [256, 2], 1, 576),  # F16
        tensor("blk.0.ffn_up.weight", [32, 4], 8, 1600),  # Q8_0: 34 bytes for 32
        tensor("blk.1.attn_q.weight", [64], 39, 1760),  # MXFP4: 17 bytes for 32
        tensor("output_norm.weight", [8], 0, 1824),
    ]
    tensors = read(gguf([], table)).tensors
    assert tensors.layers == {0: 1024 + 136, 1: 34}
    assert tensors.other_bytes == 576 + 32
    assert tensors.parameters == 1024 + 512 + 128 + 64 + 8
    assert tensors.known


def test_a_type_that_is_not_known_leaves_the_size_open() -> None:
    tensors = read(gguf([], [tensor("a", [32], 99, 0), tensor("b", [8], 0, 4000)])).tensors
    assert not tensors.known
    assert tensors.parameters == 40


def test_a_file_is_whole_when_its_last_tensor_is() -> None:
    whole = gguf(data=1024 + 72)  # the second tensor: 128 elements of Q4_0, 18 bytes for each 32
    assert read(whole).end_bytes == len(whole)
    with pytest.raises(InvalidInputError, match="cut short"):
        read(whole[:-1])


@pytest.mark.fault("hostile-model")
@pytest.mark.parametrize("at", [0, 3, 4, 7, 20, 30, 100, 5000])
def test_a_header_that_ends_early_is_refused(at: int) -> None:
    with pytest.raises(InvalidInputError):
        read(gguf()[:at])


def many(count: int, kind: int = U8) -> bytes:
    return b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + text("k") + struct.pack("<IIQ", ARRAY, kind, count)


def nested(depth: int) -> bytes:
    arrays = struct.pack("<I", ARRAY) + struct.pack("<IQ", ARRAY, 1) * depth
    return b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + text("k") + arrays


UNUSABLE = {
    "empty": b"",
    "another format": b"GGML" + bytes(100),
    "old version": gguf(version=1),
    "new version": gguf(version=4),
    "endless numbers": many(2**40),
    "more numbers than there are": many(2**24),
    "an array of arrays": nested(1),
    "arrays in arrays": nested(1000),
    "unknown type": gguf([text("k") + struct.pack("<I", 99) + bytes(8)]),
    "larger than any disk": gguf(tensors=[tensor("t", [2**40], 0, 0)]),
    "data past the end": gguf(tensors=[tensor("a", [1024], 0, 0), tensor("b", [32], 0, 4096)]),
    "data of an unknown type past the end": gguf(tensors=[tensor("a", [2**20], 99, 0)]),
}
HOSTILE = {
    "endless tensors": b"GGUF" + struct.pack("<IQQ", 3, 2**63, 0),
    "endless keys": b"GGUF" + struct.pack("<IQQ", 3, 0, 2**63),
    "endless name": b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + struct.pack("<Q", 2**60) + bytes(100),
    "endless text": gguf([text("k") + struct.pack("<IQ", STRING, 2**60)]),
    "endless strings": many(2**40, STRING),
    "more strings than any vocabulary": many(2**21 + 1, STRING) + bytes(8 * (2**21 + 9)),
    "a key twice": gguf([number("k", 1), number("k", 2)]),
    "many long texts": gguf([string(f"k{n}", "x" * 4000) for n in range(400)]),
    "many long arrays": gguf([array(f"k{n}", U8, [b"\1"] * 1000) for n in range(100)]),
    "no alignment": gguf([number("general.alignment", 0)]),
    "odd alignment": gguf([number("general.alignment", 48)]),
    "huge alignment": gguf([number("general.alignment", 2**40)]),
    "alignment as text": gguf([string("general.alignment", "32")]),
    "overflowing product": gguf(tensors=[tensor("t", [2**63, 2**63], 0, 0)]),
    "overflowing product of an unknown type": gguf(tensors=[tensor("t", [2**40, 2**40], 99, 0)]),
    "offset outside": gguf(tensors=[tensor("t", [32], 0, 2**63)]),
    "offset between": gguf(tensors=[tensor("t", [32], 0, 8)]),
    "one inside another": gguf(tensors=[tensor("a", [32, 8], 0, 0), tensor("b", [32], 0, 32)]),
    "the same place twice": gguf(tensors=[tensor("a", [32], 0, 0), tensor("b", [32], 0, 0)]),
    "half a block": gguf(tensors=[tensor("t", [33], 8, 0)]),
    "five dimensions": gguf(tensors=[tensor("t", [1] * 5, 0, 0)]),
    "alignment of half the address space": gguf([number("general.alignment", 2**31)]),
    "a gap between two": gguf(tensors=[tensor("a", [32], 0, 0), tensor("b", [32], 0, 256)]),
    "an offset past the end": gguf(tensors=[tensor("a", [32], 0, 0), tensor("b", [32], 0, 2**20)]),
    "an offset that no disk has": gguf(tensors=[tensor("a", [32], 99, 0), tensor("b", [32], 0, 2**62)]),
    "no columns": gguf(tensors=[tensor("t", [32, 0], 0, 0)]),
    "no columns of many": gguf(tensors=[tensor("t", [2**60, 0], 0, 0)]),
}
ALL = {
    **{name: (data, InvalidInputError) for name, data in UNUSABLE.items()},
    **{name: (data, RefusedError) for name, data in HOSTILE.items()},
}


@pytest.mark.fault("hostile-model")
@pytest.mark.parametrize(("data", "kind"), ALL.values(), ids=ALL.keys())
def test_what_is_hostile_is_refused_without_memory_for_it(data: bytes, kind: type[Exception]) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(kind):
            read(data)
        assert tracemalloc.get_traced_memory()[1] < MOST_MEMORY_BYTES
    finally:
        tracemalloc.stop()


def test_numbers_of_every_kind_are_read() -> None:
    single = array("halves", F32, [struct.pack("<f", 0.5)])
    header = read(gguf([single, array("none", U8, []), text("flag") + struct.pack("<I?", 7, True)]))
    assert header.keys == {"halves": [0.5], "none": [], "flag": True}
