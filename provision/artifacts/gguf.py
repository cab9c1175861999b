"""Reading the header of a GGUF file: enough to know the model, and whether the file is whole.

Layout (little-endian), after the specification in the ggml project: magic ``GGUF``, uint32 version, uint64
tensor count, uint64 key count; then keys (string name, uint32 type, value) and tensors (string name, uint32
number of dimensions, uint64 each, uint32 type, uint64 offset). The file is hostile until it is read: every
count is bounded before anything is allocated for it.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any, BinaryIO

from provision.domain.model import ModelShape
from provision.errors import InvalidInputError

MAGIC = b"GGUF"
VERSIONS = (2, 3)
MAX_KEYS = 1 << 16
MAX_TENSORS = 1 << 17
MAX_STRING_BYTES = 1 << 24
MAX_ARRAY = 1 << 24
MAX_NESTING = 4
MAX_DIMENSIONS = 8
MAX_ALIGNMENT = 1 << 16
DEFAULT_ALIGNMENT = 32
_NOT_A_MODEL = "The file is not a language model."
KEPT_ARRAY = 1024  # longer arrays are the vocabulary, which nobody here needs

_SCALARS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}
_STRING, _ARRAY = 8, 9

# Bytes of one block and elements in it, by tensor type; types that are not listed are not size-checked.
_BLOCKS = {
    0: (4, 1), 1: (2, 1), 2: (18, 32), 3: (20, 32), 6: (22, 32), 7: (24, 32), 8: (34, 32), 9: (36, 32),
    10: (84, 256), 11: (110, 256), 12: (144, 256), 13: (176, 256), 14: (210, 256), 15: (292, 256),
    24: (1, 1), 25: (2, 1), 26: (4, 1), 27: (8, 1), 28: (8, 1), 30: (2, 1), 39: (17, 32),
}  # fmt: skip

_FILE_TYPES = {
    0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 7: "Q8_0", 8: "Q5_0", 9: "Q5_1", 10: "Q2_K", 11: "Q3_K_S",
    12: "Q3_K_M", 13: "Q3_K_L", 14: "Q4_K_S", 15: "Q4_K_M", 16: "Q5_K_S", 17: "Q5_K_M", 18: "Q6_K", 32: "BF16",
    38: "MXFP4",
}  # fmt: skip


@dataclass(frozen=True)
class GgufHeader:
    """What the header says. ``end_bytes`` is where the last tensor of a known type ends."""

    keys: dict[str, Any]
    tensor_count: int
    end_bytes: int

    @property
    def quantization(self) -> str | None:
        """The name of the file's quantization, ``None`` where it is not a known one."""
        kind = self.keys.get("general.file_type")
        return _FILE_TYPES.get(kind) if isinstance(kind, int) else None

    def shape(self) -> ModelShape:
        """Return the numbers of the model. Raises ``InvalidInputError`` where a needed one is missing."""
        architecture = self._need("general.architecture", str)

        def number(key: str, default: int | None = None) -> int:
            value = self.keys.get(f"{architecture}.{key}", default)
            per_layer = value if isinstance(value, list) else [value]
            if per_layer and all(isinstance(each, int) for each in per_layer):
                return int(max(per_layer))
            raise InvalidInputError(f"The GGUF header has no usable {architecture}.{key}.", _NOT_A_MODEL)

        heads = number("attention.head_count")
        head_size = number("embedding_length") // max(1, heads)
        return ModelShape(
            architecture=architecture,
            layers=number("block_count"),
            heads_kv=number("attention.head_count_kv", heads),
            key_length=number("attention.key_length", head_size),
            value_length=number("attention.value_length", head_size),
            context_length=number("context_length"),
        )

    def _need(self, key: str, kind: type) -> Any:
        value = self.keys.get(key)
        if not isinstance(value, kind):
            raise InvalidInputError(f"The GGUF header has no usable {key}.", _NOT_A_MODEL)
        return value


def read_header(file: BinaryIO, size_bytes: int) -> GgufHeader:
    """Read and check the header of a file of ``size_bytes``.

    Raises ``InvalidInputError`` for what is not GGUF, hostile, or cut short.
    """
    try:
        return _Reader(file, size_bytes).header()
    except (struct.error, UnicodeDecodeError, EOFError, KeyError) as error:
        raise _broken(f"its header makes no sense ({str(error) or 'it ends too early'})") from error


def _broken(what: str) -> InvalidInputError:
    return InvalidInputError(f"This is not a usable GGUF file: {what}.", "Download it again and compare its checksum.")


class _Reader:
    def __init__(self, file: BinaryIO, size_bytes: int) -> None:
        self._file = file
        self._size = size_bytes
        self._left = size_bytes

    def header(self) -> GgufHeader:
        if self._bytes(len(MAGIC)) != MAGIC:
            raise _broken("it does not start with GGUF")
        version = self._scalar("<I")
        if version not in VERSIONS:
            raise _broken(f"version {version} is not one of {VERSIONS}")
        tensors = self._bounded("<Q", MAX_TENSORS, "tensors")
        keys = dict(self._key() for _ in range(self._bounded("<Q", MAX_KEYS, "keys")))
        end_in_data = max((self._tensor_end() for _ in range(tensors)), default=0)
        alignment = self._alignment(keys)
        data_start = -(-(self._size - self._left) // alignment) * alignment
        end = data_start + end_in_data
        if end > self._size:
            raise _broken(f"it is cut short: {self._size} of at least {end} bytes are there")
        return GgufHeader(keys, tensors, end)

    def _alignment(self, keys: dict[str, Any]) -> int:
        alignment = keys.get("general.alignment", DEFAULT_ALIGNMENT)
        if not isinstance(alignment, int) or not 0 < alignment <= MAX_ALIGNMENT or alignment & (alignment - 1):
            raise _broken(f"an alignment of {alignment} is not possible")
        return alignment

    def _key(self) -> tuple[str, Any]:
        name = self._string()
        return name, self._value(self._scalar("<I"), MAX_NESTING)

    def _tensor_end(self) -> int:
        """Return where the tensor's data ends, counted from the start of all data."""
        self._string()
        dimensions = self._bounded("<I", MAX_DIMENSIONS, "dimensions")
        elements = 1
        for _ in range(dimensions):
            elements *= self._scalar("<Q")
        kind, offset = self._scalar("<I"), self._scalar("<Q")
        block_bytes, block = _BLOCKS.get(kind, (0, 1))
        return int(offset + elements // block * block_bytes)

    def _value(self, kind: int, nesting: int) -> Any:
        if kind == _STRING:
            return self._string()
        if kind != _ARRAY:
            return self._scalar(_SCALARS[kind])
        if nesting == 0:
            raise _broken("arrays are nested too deeply")
        inner = self._scalar("<I")
        count = self._bounded("<Q", MAX_ARRAY, "elements in an array")
        if inner in _SCALARS and count > KEPT_ARRAY:
            self._skip(count * struct.calcsize(_SCALARS[inner]))
            return None
        values = (self._value(inner, nesting - 1) for _ in range(count))
        if count > KEPT_ARRAY:
            for _ in values:
                pass
            return None
        return list(values)

    def _string(self) -> str:
        return self._bytes(self._bounded("<Q", MAX_STRING_BYTES, "bytes in a string")).decode("utf-8", "replace")

    def _bounded(self, form: str, limit: int, what: str) -> int:
        count = self._scalar(form)
        if count > limit:
            raise _broken(f"{count} {what} is more than the {limit} that are believable")
        return int(count)

    def _scalar(self, form: str) -> Any:
        return struct.unpack(form, self._bytes(struct.calcsize(form)))[0]

    def _skip(self, size: int) -> None:
        if size > self._left:
            raise EOFError
        self._file.seek(size, 1)
        self._left -= size

    def _bytes(self, size: int) -> bytes:
        if size > self._left:
            raise EOFError
        data = self._file.read(size)
        if len(data) != size:
            raise EOFError
        self._left -= size
        return data
