"""Walking forward through a large file that nobody trusts: in small pieces, past what is not wanted."""

from __future__ import annotations

import struct
from typing import BinaryIO

CHUNK_BYTES = 1 << 16
_LENGTH = struct.Struct("<Q")


class Cursor:
    """A position in a file of ``size_bytes`` that only moves forward.

    Never holds more than a chunk and what is taken at once. Raises ``EOFError`` at the end of the file.
    """

    def __init__(self, file: BinaryIO, size_bytes: int) -> None:
        self._file = file
        self._unread = size_bytes
        self._size = size_bytes
        self._buffer = b""
        self._at = 0

    @property
    def position(self) -> int:
        """How many bytes lie behind."""
        return self._size - self.left

    @property
    def left(self) -> int:
        """How many bytes lie ahead."""
        return self._unread + len(self._buffer) - self._at

    def take(self, size: int) -> bytes:
        """Return the next ``size`` bytes. The caller bounds ``size``."""
        start, self._at = self._require(size), self._at + size
        return self._buffer[start : self._at]

    def skip(self, size: int) -> None:
        """Go ``size`` bytes forward without reading them."""
        if size > self.left:
            raise EOFError
        buffered = len(self._buffer) - self._at
        if size <= buffered:
            self._at += size
            return
        self._file.seek(size - buffered, 1)
        self._unread -= size - buffered
        self._buffer, self._at = b"", 0

    def skip_strings(self, count: int) -> None:
        """Go past ``count`` strings, each a uint64 length and as many bytes. The caller bounds ``count``."""
        buffer, at, end = self._buffer, self._at, len(self._buffer)
        for _ in range(count):
            if at + _LENGTH.size > end:
                self._at = at
                at = self._require(_LENGTH.size)
                buffer, end = self._buffer, len(self._buffer)
            size = _LENGTH.unpack_from(buffer, at)[0]
            at += _LENGTH.size
            if at + size > end:
                self._at = at
                self.skip(size)
                buffer, at, end = self._buffer, self._at, len(self._buffer)
            else:
                at += size
        self._at = at

    def _require(self, size: int) -> int:
        """Have the next ``size`` bytes in the buffer; return where they start."""
        buffered = len(self._buffer) - self._at
        if size > buffered:
            if size > self.left:
                raise EOFError
            wanted = min(self._unread, max(CHUNK_BYTES, size - buffered))
            data = self._file.read(wanted)
            if len(data) != wanted:
                raise EOFError
            self._unread -= wanted
            self._buffer, self._at = self._buffer[self._at :] + data, 0
        return self._at
