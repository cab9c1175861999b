"""Reading the header of a GGUF file: its keys, how large its tensors are, and whether the file is whole.

Layout (little-endian), after the specification in the ggml project: magic ``GGUF``, uint32 version, uint64
tensor count, uint64 key count; then keys (string name, uint32 type, value) and tensors (string name, uint32
number of dimensions, uint64 each, uint32 type, uint64 offset). The file is hostile until it is read: every
count is bounded before anything is allocated for it, and what nobody needs (the vocabulary, the chat template)
is skipped where it lies. What ggml itself refuses is refused here as well.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from provision.artifacts.cursor import Cursor
from provision.domain.frozen import frozen
from provision.errors import InvalidInputError, RefusedError

MAGIC = b"GGUF"
VERSIONS = (2, 3)
MAX_KEYS = 1 << 12  # real files have fewer than 100
MAX_TENSORS = 1 << 15  # the largest models have about 2000
MAX_NAME_BYTES = 1 << 10
MAX_STRINGS = 1 << 21  # of all arrays together; the largest vocabularies with their merges have 800,000
MAX_ARRAY = 1 << 40
MAX_DIMENSIONS = 4
MAX_ELEMENTS = 1 << 50
MAX_ALIGNMENT = 1 << 16
DEFAULT_ALIGNMENT = 32
KEPT_STRING_BYTES = 1 << 12  # longer ones are chat templates
KEPT_ARRAY = 1 << 10  # longer ones are the vocabulary
KEPT_BYTES = 1 << 20  # of all values together
ELEMENT_BYTES = 40  # of a number in a list of ours

_SCALARS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}
_STRING, _ARRAY = 8, 9
_AGAIN = "Download it again and compare its checksum."

# Bytes of one block and elements in it, by tensor type: ggml's type traits. Other types are not size-checked.
_BLOCKS = {
    0: (4, 1), 1: (2, 1), 2: (18, 32), 3: (20, 32), 6: (22, 32), 7: (24, 32), 8: (34, 32), 9: (36, 32),
    10: (84, 256), 11: (110, 256), 12: (144, 256), 13: (176, 256), 14: (210, 256), 15: (292, 256), 16: (66, 256),
    17: (74, 256), 18: (98, 256), 19: (50, 256), 20: (18, 32), 21: (110, 256), 22: (82, 256), 23: (136, 256),
    24: (1, 1), 25: (2, 1), 26: (4, 1), 27: (8, 1), 28: (8, 1), 29: (56, 256), 30: (2, 1), 34: (54, 256),
    35: (66, 256), 39: (17, 32), 40: (36, 64), 41: (18, 128),
}  # fmt: skip
_LAYER = re.compile(rb"blk\.([0-9]{1,5})\.")


@dataclass
class Tensors:
    """What the tensors of one or several files take, in bytes: each layer by its number, and all others.

    ``known`` is false where a type is not one of those whose size is known; the bytes are then too few.
    """

    count: int = 0
    parameters: int = 0
    known: bool = True
    layers: dict[int, int] = field(default_factory=dict)
    other_bytes: int = 0

    @property
    def size_bytes(self) -> int:
        """All of them."""
        return sum(self.layers.values()) + self.other_bytes

    def add(self, layer: int | None, size: int) -> None:
        """Count ``size`` bytes for ``layer``, or for what is in no layer."""
        if layer is None:
            self.other_bytes += size
        else:
            self.layers[layer] = self.layers.get(layer, 0) + size

    def merge(self, others: Tensors) -> None:
        """Count the tensors of another part of the same model as well."""
        self.count += others.count
        self.parameters += others.parameters
        self.known = self.known and others.known
        self.add(None, others.other_bytes)
        for layer, size in others.layers.items():
            self.add(layer, size)


@frozen
class GgufHeader:
    """What the header says. ``end_bytes`` is where the last tensor ends, at least.

    ``keys`` holds ``None`` for what was skipped.
    """

    keys: dict[str, Any]
    tensors: Tensors
    end_bytes: int


def read_header(file: BinaryIO, size_bytes: int) -> GgufHeader:
    """Read and check the header of a file of ``size_bytes``.

    Raises ``InvalidInputError`` for what is not GGUF or cut short, ``RefusedError`` for numbers that no honest file
    has.
    """
    try:
        return _Reader(Cursor(file, size_bytes), size_bytes).header()
    except (struct.error, EOFError, KeyError) as error:
        raise _broken(f"its header makes no sense ({str(error) or 'it ends too early'})") from error


def _broken(what: str) -> InvalidInputError:
    return InvalidInputError(f"This is not a usable GGUF file: {what}.", _AGAIN)


def _unsafe(what: str) -> RefusedError:
    return RefusedError(f"This GGUF file is damaged, or made to harm what loads it: {what}.", _AGAIN)


class _Reader:
    def __init__(self, cursor: Cursor, size_bytes: int) -> None:
        self._cursor = cursor
        self._size = size_bytes
        self._kept = 0
        self._strings = 0

    def header(self) -> GgufHeader:
        if self._cursor.take(len(MAGIC)) != MAGIC:
            raise _broken("it does not start with GGUF")
        version = self._scalar("<I")
        if version not in VERSIONS:
            raise _broken(f"version {version} is not one of {VERSIONS}")
        tensors = self._bounded("<Q", MAX_TENSORS, "tensors")
        keys: dict[str, Any] = {}
        for _ in range(self._bounded("<Q", MAX_KEYS, "keys")):
            self._key(keys)
        alignment = _alignment(keys)
        table, data_bytes = self._tensors(tensors, alignment)
        end = -(-self._cursor.position // alignment) * alignment + data_bytes
        if end > self._size:
            raise _broken(f"it is cut short: {self._size} of at least {end} bytes are there")
        return GgufHeader(keys, table, end)

    def _key(self, keys: dict[str, Any]) -> None:
        name = self._name().decode("utf-8", "replace")
        if name in keys:
            raise _unsafe(f"the key {name!r} is there twice")
        kind = self._scalar("<I")
        if kind == _STRING:
            keys[name] = self._text()
        elif kind == _ARRAY:
            keys[name] = self._array()
        else:
            keys[name] = self._scalar(_SCALARS[kind])
        self._keep(len(name) + ELEMENT_BYTES)

    def _tensors(self, count: int, alignment: int) -> tuple[Tensors, int]:
        """Return the table and where the data of the last tensor ends, counted from the start of all data.

        Tensors lie in the order of the table without a gap, each at a multiple of the alignment: ggml computes where
        they are, and so whatever is said of it has to be the same. Where a type is not known, its tensor takes at
        least a bit for each element.
        """
        table, end, exact = Tensors(count), 0, True
        for _ in range(count):
            layer = _LAYER.match(self._name())
            size, elements, offset = self._tensor()
            table.known = table.known and size is not None
            start = -(-end // alignment) * alignment
            if offset % alignment or offset < start or offset > MAX_ELEMENTS or (exact and offset != start):
                raise _unsafe(f"a tensor starts at {offset} and not where the one before ends, at {start}")
            exact = size is not None
            end = offset + (elements >> 3 if size is None else size)
            table.parameters += elements
            table.add(int(layer[1]) if layer else None, size or 0)
        return table, end

    def _tensor(self) -> tuple[int | None, int, int]:
        """Return the size in bytes (``None`` where its type is not known), the elements and the offset."""
        dimensions = [self._scalar("<Q") for _ in range(self._bounded("<I", MAX_DIMENSIONS, "dimensions"))]
        elements = 1
        if 0 in dimensions[1:]:  # ggml divides by them
            raise _unsafe("a tensor without elements is not possible")
        for dimension in dimensions:
            elements *= dimension
            if elements > MAX_ELEMENTS:
                raise _unsafe(f"a tensor of {dimensions} elements is not possible")
        kind, offset = self._scalar("<I"), self._scalar("<Q")
        if kind not in _BLOCKS:
            return None, elements, offset
        block_bytes, block = _BLOCKS[kind]
        if dimensions and dimensions[0] % block:
            raise _unsafe(f"a row of {dimensions[0]} elements is not made of blocks of {block}")
        return elements // block * block_bytes, elements, offset

    def _array(self) -> list[Any] | None:
        inner = self._scalar("<I")
        count = self._bounded("<Q", MAX_ARRAY, "elements in an array")
        if inner == _STRING:
            self._strings += count
            if self._strings > MAX_STRINGS:
                raise _unsafe(f"{self._strings} strings are more than the {MAX_STRINGS} that are believable")
            self._cursor.skip_strings(count)
            return None
        form = _SCALARS[inner]  # an array of arrays is refused, as ggml does
        if count > KEPT_ARRAY:
            self._cursor.skip(count * struct.calcsize(form))
            return None
        self._keep(count * ELEMENT_BYTES)
        return [self._scalar(form) for _ in range(count)]

    def _text(self) -> str | None:
        """Return a string; ``None`` for one that is too long to be of use."""
        size = self._bounded("<Q", MAX_ARRAY, "bytes in a text")
        if size > KEPT_STRING_BYTES:
            self._cursor.skip(size)
            return None
        self._keep(size)
        return self._cursor.take(size).decode("utf-8", "replace")

    def _keep(self, size: int) -> None:
        self._kept += size
        if self._kept > KEPT_BYTES:
            raise _unsafe(f"its keys hold more than the {KEPT_BYTES} bytes that are believable")

    def _name(self) -> bytes:
        return self._cursor.take(self._bounded("<Q", MAX_NAME_BYTES, "bytes in a name"))

    def _bounded(self, form: str, limit: int, what: str) -> int:
        count = self._scalar(form)
        if count > limit:
            raise _unsafe(f"{count} {what} is more than the {limit} that are believable")
        return int(count)

    def _scalar(self, form: str) -> Any:
        return struct.unpack(form, self._cursor.take(struct.calcsize(form)))[0]


def _alignment(keys: dict[str, Any]) -> int:
    alignment = keys.get("general.alignment", DEFAULT_ALIGNMENT)
    if not isinstance(alignment, int) or not 0 < alignment <= MAX_ALIGNMENT or alignment & (alignment - 1):
        raise _unsafe(f"an alignment of {alignment} is not possible")
    return alignment
