"""A real GGUF file cut into parts as llama.cpp's own ``llama-gguf-split`` lays them out, and other variants of it."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

_FIXED = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
_STRING, _ARRAY, _UINT16, _INT32 = 8, 9, 2, 5
_ALIGNMENT = 32


@dataclass(frozen=True)
class _Tensor:
    """``described`` is what the table says before the offset, ``data`` its bytes, padded."""

    described: bytes
    data: bytes


def split(source: Path, target_dir: Path, stem: str) -> list[Path]:
    """Write ``source`` as ``STEM-00001-of-00002.gguf`` and the second; return both paths.

    All keys are in the first file, the first half of the tensors too.
    """
    keys, count, tensors = _read(source.read_bytes())
    half = len(tensors) // 2
    paths = []
    for number, own in enumerate((tensors[:half], tensors[half:])):
        told = (("split.no", _UINT16, "<H", number), ("split.count", _UINT16, "<H", 2))
        marks = b"".join(_key(name, kind, form, value) for name, kind, form, value in told)
        marks += _key("split.tensors.count", _INT32, "<i", len(tensors))
        path = target_dir / f"{stem}-{number + 1:05d}-of-00002.gguf"
        first = number == 0
        path.write_bytes(_write((keys if first else b"") + marks, (count if first else 0) + 3, own))
        paths.append(path)
    return paths


def renamed_architecture(source: Path, old: str, new: str) -> bytes:
    """Return the bytes of ``source`` as a model of another architecture, whose name has as many letters."""
    assert len(old) == len(new)
    data = source.read_bytes()
    keys, _, _ = _read(data)
    head = 24 + len(keys)
    changed = data[:head].replace(f"{old}.".encode(), f"{new}.".encode())
    value = struct.pack("<IQ", _STRING, len(old))
    return changed.replace(value + old.encode(), value + new.encode()) + data[head:]


def _read(data: bytes) -> tuple[bytes, int, list[_Tensor]]:
    magic, _, tensors, count = struct.unpack_from("<4sIQQ", data)
    assert magic == b"GGUF"
    position = start = 24
    for _ in range(count):
        position = _after_value(data, _after_string(data, position))
    keys = data[start:position]
    table: list[tuple[bytes, int]] = []
    for _ in range(tensors):
        begin = position
        position = _after_string(data, position)
        (dimensions,) = struct.unpack_from("<I", data, position)
        position += 4 + 8 * dimensions + 4
        (offset,) = struct.unpack_from("<Q", data, position)
        table.append((data[begin:position], offset))
        position += 8
    base = -(-position // _ALIGNMENT) * _ALIGNMENT
    ends = [offset for _, offset in table[1:]] + [len(data) - base]
    found = [
        _Tensor(described, data[base + offset : base + end])
        for (described, offset), end in zip(table, ends, strict=True)
    ]
    return keys, count, found


def _write(keys: bytes, count: int, tensors: list[_Tensor]) -> bytes:
    table, body = b"", b""
    for tensor in tensors:
        table += tensor.described + struct.pack("<Q", len(body))
        body += tensor.data + b"\0" * (-len(tensor.data) % _ALIGNMENT)
    head = struct.pack("<4sIQQ", b"GGUF", 3, len(tensors), count) + keys + table
    return head + b"\0" * (-len(head) % _ALIGNMENT) + body


def _key(name: str, kind: int, form: str, value: int) -> bytes:
    return struct.pack("<Q", len(name)) + name.encode() + struct.pack("<I", kind) + struct.pack(form, value)


def _after_string(data: bytes, position: int) -> int:
    return position + 8 + int(struct.unpack_from("<Q", data, position)[0])


def _after_value(data: bytes, position: int) -> int:
    (kind,) = struct.unpack_from("<I", data, position)
    position += 4
    if kind == _STRING:
        return _after_string(data, position)
    if kind != _ARRAY:
        return position + _FIXED[kind]
    inner, count = struct.unpack_from("<IQ", data, position)
    position += 12
    if inner != _STRING:
        return int(position + _FIXED[inner] * count)
    for _ in range(count):
        position = _after_string(data, position)
    return position
