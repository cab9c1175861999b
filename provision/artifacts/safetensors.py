"""Safetensors: how large the tensors of a file are, from its header alone, and which files make a model.

A file starts with the length of its header (uint64, little-endian); the header is one JSON object that maps a
tensor's name to ``{"dtype", "shape", "data_offsets": [start, end]}``, offsets counted from the end of the header.
The header is read piece by piece, so that a large one, or one that lies about itself, takes no memory.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from provision.artifacts.cursor import CHUNK_BYTES, Cursor
from provision.domain.frozen import frozen
from provision.errors import InvalidInputError

MAX_HEADER_BYTES = 1 << 25  # the format allows 100 MB; the largest real ones have 3
MAX_ENTRY_BYTES = 1 << 20
MAX_INDEX_BYTES = 1 << 26
MAX_FILES = 1 << 10
MAX_SIZE = 1 << 50
INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"

_BITS = {
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8, "U16": 16, "I16": 16, "F16": 16, "BF16": 16,
    "U32": 32, "I32": 32, "F32": 32, "U64": 64, "I64": 64, "F64": 64, "C64": 64,
}  # fmt: skip
_FLOATS = ("F16", "BF16", "F32", "F64", "F8_E5M2", "F8_E4M3")
_SPACE = re.compile(r"[ \t\n\r]*")
_FILE_IN_INDEX = re.compile(rb'"([^"\\/\x00-\x1f]{1,200}\.safetensors)"')


@frozen
class Weights:
    """The tensors of one or several files. ``parameters`` counts the elements of floating-point tensors.

    ``dtypes`` maps each data type to the bytes that it takes.
    """

    size_bytes: int
    parameters: int
    dtypes: dict[str, int]


def read_weights(files: list[Path]) -> Weights:
    """Read the headers of ``files``. Raises ``InvalidInputError`` where one is damaged, cut short or hostile."""
    return add_weights(map(_weights_of, files))


def _weights_of(path: Path) -> Weights:
    with path.open("rb") as file:
        return count_weights(file, path.stat().st_size, path.name)


def count_weights(file: BinaryIO, size_bytes: int, name: str) -> Weights:
    """Read the header of one open file of ``size_bytes``, as ``read_weights`` does."""
    parameters, dtypes = 0, dict[str, int]()
    for dtype, elements, tensor_bytes in tensors(file, size_bytes, name):
        known = dtype if dtype in _BITS else "other"
        dtypes[known] = dtypes.get(known, 0) + tensor_bytes
        parameters += elements if dtype in _FLOATS else 0
    return Weights(sum(dtypes.values()), parameters, dtypes)


def add_weights(parts: Iterable[Weights]) -> Weights:
    """Return the weights of all files of a model together."""
    size_bytes, parameters, dtypes = 0, 0, Counter[str]()
    for part in parts:
        size_bytes += part.size_bytes
        parameters += part.parameters
        dtypes.update(part.dtypes)
    return Weights(size_bytes, parameters, dict(dtypes))


def weight_files(directory: Path) -> list[Path]:
    """Return the safetensors files that make the model in ``directory``; empty where there are none.

    Raises ``InvalidInputError`` where one that the index names is missing.
    """
    index = directory / INDEX
    if index.is_file():
        with index.open("rb") as file:
            named = [directory / name for name in files_in_index(file, index.stat().st_size)]
        absent = next((path.name for path in named if not path.is_file()), None)
        if absent or not named:
            raise InvalidInputError(f"{INDEX} names {absent or 'no file'}, which is not there.", "Download it again.")
        return named
    if (directory / SINGLE).is_file():
        return [directory / SINGLE]
    others = (path for path in directory.glob("*.safetensors") if not path.name.startswith("adapter_"))
    return sorted(path for path in others if path.is_file())[:MAX_FILES]


def files_in_index(file: BinaryIO, size_bytes: int) -> list[str]:
    """Return the file names in an index. It maps every tensor to a file, so it is searched and not parsed.

    Raises ``InvalidInputError`` for an index larger than any.
    """
    names, left = set[str](), b""
    if size_bytes > MAX_INDEX_BYTES:
        raise InvalidInputError(f"{INDEX} is larger than any index is.", "Download it again.")
    while data := file.read(CHUNK_BYTES):
        text = left + data
        names.update(found.decode("utf-8", "replace") for found in _FILE_IN_INDEX.findall(text))
        if len(names) > MAX_FILES:
            raise InvalidInputError(f"{INDEX} names more than {MAX_FILES} files.", "Download it again.")
        left = text[-256:]
    return sorted(names)


def tensors(file: BinaryIO, size_bytes: int, name: str) -> Iterator[tuple[str, int, int]]:
    """Yield data type, elements and bytes of every tensor in a file of ``size_bytes``.

    Raises ``InvalidInputError`` at the latest after the last one, where they are not exactly what the file holds.
    """
    try:
        yield from _tensors(Cursor(file, size_bytes))
    except (ValueError, EOFError, RecursionError) as error:
        raise InvalidInputError(
            f"{name} is not a usable safetensors file: {str(error) or 'it ends too early'}.", "Download it again."
        ) from error


def _tensors(cursor: Cursor) -> Iterator[tuple[str, int, int]]:
    header = int.from_bytes(cursor.take(8), "little")
    if header > min(MAX_HEADER_BYTES, cursor.left):
        raise ValueError(f"a header of {header} bytes is not possible")
    data, counted = cursor.left - header, 0
    for entry in _entries(cursor, header):
        dtype, elements, start, end = _tensor(entry, data)
        counted += end - start
        yield dtype, elements, end - start
    if counted != data:
        raise ValueError(f"{counted} bytes of tensors, and {data} are there")


def _tensor(entry: Any, data_bytes: int) -> tuple[str, int, int, int]:
    """Return data type, elements and range of a tensor. Raises ``ValueError`` where they contradict each other."""
    try:
        dtype, shape, (start, end) = entry["dtype"], entry["shape"], entry["data_offsets"]
    except (TypeError, KeyError) as error:
        raise ValueError(f"a tensor without {error}") from None
    numbers = [start, end, *shape] if isinstance(shape, list) else [None]
    if not isinstance(dtype, str) or not all(type(each) is int and 0 <= each <= MAX_SIZE for each in numbers):
        raise ValueError("a tensor with impossible numbers")
    elements = 1
    for dimension in shape:
        elements = min(elements * dimension, MAX_SIZE)
    if not start <= end <= data_bytes:
        raise ValueError(f"a tensor from {start} to {end} of {data_bytes} bytes")
    if dtype in _BITS and elements * _BITS[dtype] != (end - start) * 8:
        raise ValueError(f"{elements} elements of {dtype} in {end - start} bytes")
    return dtype, elements, start, end


def _entries(cursor: Cursor, header: int) -> Iterator[Any]:
    """Yield the value of every key of the JSON object in the next ``header`` bytes, ``__metadata__`` excepted."""
    text = _Text(cursor, header)
    text.expect("{")
    while not text.at("}"):
        name = text.value()
        text.expect(":")
        value = text.value()
        if name != "__metadata__":
            yield value
        if not text.at("}"):
            text.expect(",")


class _Text:
    """JSON that is decoded one value at a time."""

    def __init__(self, cursor: Cursor, left: int) -> None:
        self._cursor = cursor
        self._left = left
        self._text, self._at = "", 0
        self._decode = json.JSONDecoder().raw_decode

    def at(self, sign: str) -> bool:
        """Tell whether ``sign`` comes next, after any space."""
        while True:
            space = _SPACE.match(self._text, self._at)
            self._at = space.end() if space else self._at
            if self._at < len(self._text) or not self._more():
                return self._text.startswith(sign, self._at)

    def expect(self, sign: str) -> None:
        """Go past ``sign``. Raises ``ValueError`` where it does not come next."""
        if not self.at(sign):
            raise ValueError(f"no {sign} where it has to be")
        self._at += len(sign)

    def value(self) -> Any:
        """Return the next value and go past it. Raises ``ValueError`` where there is none, or a very long one."""
        self.at("")
        while True:
            try:
                value, self._at = self._decode(self._text, self._at)
                return value
            except ValueError:
                if len(self._text) - self._at > MAX_ENTRY_BYTES or not self._more():
                    raise

    def _more(self) -> bool:
        size = min(CHUNK_BYTES, self._left)
        self._left -= size
        self._text = self._text[self._at :] + self._cursor.take(size).decode("ascii", "replace")
        self._at = 0
        return size > 0
