from __future__ import annotations

import io
import json
import struct
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from provision.artifacts.safetensors import MAX_HEADER_BYTES, read_weights, tensors, weight_files
from provision.errors import InvalidInputError
from tests.unit.artifacts.hf_files import header, safetensors

MOST_MEMORY_BYTES = 8 << 20


def read(data: bytes) -> list[tuple[str, int, int]]:
    return list(tensors(io.BytesIO(data), len(data), "m.safetensors"))


def test_every_tensor_is_counted() -> None:
    data = safetensors({"a": ("BF16", [4, 8]), "b": ("F32", []), "c": ("U8", [0, 5])}, {"format": "pt"})
    assert read(data) == [("BF16", 32, 64), ("F32", 1, 4), ("U8", 0, 0)]


def test_a_header_of_many_pieces_is_read_as_one() -> None:
    table = {f"model.layers.{n}.mlp.experts.{n % 7}.weight": ("BF16", [2]) for n in range(20_000)}
    data = safetensors(table, {"note": "é" * 100_000})
    tracemalloc.start()
    try:
        assert len(read(data)) == 20_000
        assert tracemalloc.get_traced_memory()[1] < MOST_MEMORY_BYTES
    finally:
        tracemalloc.stop()


def test_only_numbers_that_weights_are_made_of_count_as_parameters(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(safetensors({"a": ("BF16", [10]), "packed": ("I32", [3])}))
    (tmp_path / "b").write_bytes(safetensors({"a": ("F8_E4M3", [6]), "new": ("F4", [8])}))
    weights = read_weights([tmp_path / "a", tmp_path / "b"])
    assert (weights.size_bytes, weights.parameters) == (20 + 12 + 6 + 4, 16)
    assert weights.dtypes == {"BF16": 20, "I32": 12, "F8_E4M3": 6, "other": 4}


def one(**changed: Any) -> bytes:
    return header({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8], **changed}}) + bytes(8)


@pytest.mark.fault("hostile-model")
@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\1",
        struct.pack("<Q", 2**63) + bytes(100),
        struct.pack("<Q", MAX_HEADER_BYTES + 1) + bytes(100),
        struct.pack("<Q", 100) + b"{}",
        header([]),
        header("text"),
        header({"a": 5}),
        header({"a": {"dtype": "F32"}}),
        header({"a": {"dtype": "F32", "shape": 5, "data_offsets": [0, 8]}}) + bytes(8),
        struct.pack("<Q", 10) + b"[" * 10,
        struct.pack("<Q", 400_000) + b'{"a":' + b"[" * 399_995,
        struct.pack("<Q", 20) + b'{"a": 1' + b"9" * 13,
        one(dtype=7),
        one(shape=[3]),
        one(shape=[2**40, 2**40]),
        one(shape=[-2]),
        one(shape=[True, 2]),
        one(data_offsets=[0, 4]),
        one(data_offsets=[8, 0]),
        one(data_offsets=[8, 16]),
        one(data_offsets=[0]),
        one()[:-1],
        one() + bytes(1),
    ],
    ids=range(24),
)
def test_what_is_damaged_or_hostile_is_refused_without_memory_for_it(data: bytes) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(InvalidInputError, match=r"m\.safetensors"):
            read(data)
        assert tracemalloc.get_traced_memory()[1] < MOST_MEMORY_BYTES
    finally:
        tracemalloc.stop()


@settings(max_examples=200)
@given(st.binary(max_size=60), st.integers(0, 150))
def test_a_mutated_header_is_read_or_refused(noise: bytes, at: int) -> None:
    good = safetensors({"a": ("BF16", [4, 8]), "b": ("F32", [2])}, {"format": "pt"})
    for data in (good[:at] + noise + good[at + len(noise) :], good[:8] + noise, noise):
        try:
            read(data)
        except InvalidInputError:
            continue


def test_the_index_says_which_files_make_the_model(tmp_path: Path) -> None:
    names = [f"model-0000{n}-of-00002.safetensors" for n in (1, 2)]
    weight_map = {f"model.layers.{n}.weight": names[n % 2] for n in range(5000)}
    index = {"metadata": {"total_size": 5}, "weight_map": weight_map}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index, indent=2), encoding="utf-8")
    for name in (*names, "consolidated.safetensors"):
        (tmp_path / name).touch()
    assert [path.name for path in weight_files(tmp_path)] == names
    (tmp_path / names[1]).unlink()
    with pytest.raises(InvalidInputError, match=names[1]):
        weight_files(tmp_path)


@pytest.mark.parametrize("data", [b"", b"{}", b"\xff" * 100_000], ids=["empty", "nothing", "noise"])
def test_an_index_that_names_nothing_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "model.safetensors.index.json").write_bytes(data)
    with pytest.raises(InvalidInputError, match="names no file"):
        weight_files(tmp_path)


def test_an_index_that_names_endless_files_is_refused(tmp_path: Path) -> None:
    names = [f"{n}.safetensors" for n in range(5000)]
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(names), encoding="utf-8")
    with pytest.raises(InvalidInputError, match="more than"):
        weight_files(tmp_path)


def test_an_adapter_is_no_model(tmp_path: Path) -> None:
    (tmp_path / "adapter_model.safetensors").touch()
    assert weight_files(tmp_path) == []
    (tmp_path / "weights.safetensors").touch()
    assert [path.name for path in weight_files(tmp_path)] == ["weights.safetensors"]
