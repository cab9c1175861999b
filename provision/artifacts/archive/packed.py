"""The bytes of an archive on their way in: counted, stoppable, and never many at once."""

from __future__ import annotations

import io
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import BinaryIO, Protocol

from provision.artifacts.archive.member import BadArchiveError, Room
from provision.errors import FabricError, InterruptedByUserError

MAX_READ_BYTES = 1 << 24  # the table of contents of a zip archive comes at once
MAX_HEADER_BYTES = 1 << 16  # of one member of a tar archive, its long names included


class Source(Protocol):
    """Bytes that come one after the other."""

    def read(self, size: int, /) -> bytes:
        """Return up to ``size`` bytes; empty only at the end."""


class PackedFile(io.RawIOBase):
    """The archive as it lies on the disk.

    ``progress`` is called with the number of bytes, which add up to at most ``size_bytes``. Raises
    ``InterruptedByUserError`` as soon as ``stop`` is set, and ``BadArchiveError`` where very much is read at once.
    """

    def __init__(
        self, file: BinaryIO, size_bytes: int, progress: Callable[[int], None], stop: threading.Event | None
    ) -> None:
        super().__init__()
        self._file, self._progress, self._stop = file, progress, stop
        self.size_bytes = self._uncounted = size_bytes

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._file.tell()

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        try:
            return self._file.seek(offset, whence)
        except (OSError, ValueError, OverflowError) as error:  # to before the start
            raise BadArchiveError("is damaged: it speaks of a place that is not in it") from error

    def read(self, size: int = -1) -> bytes:
        """Return up to ``size`` bytes (all that is left where negative); empty only at the end."""
        if self._stop is not None and self._stop.is_set():
            raise InterruptedByUserError("Stopped.")
        size = self.size_bytes - self.tell() if size < 0 else size
        if size > MAX_READ_BYTES:
            raise BadArchiveError(f"is damaged: one part of it has {size} bytes")
        data = self._file.read(size)
        counted = min(len(data), self._uncounted)
        self._uncounted -= counted
        self._progress(counted)
        return data


class Unpacked:
    """The tar archive inside of a packed file, forward only. All of it counts for ``room``."""

    def __init__(self, source: Source, room: Room) -> None:
        self._source, self._room = source, room
        self._header_left: int | None = None
        self.start = b""

    def peek(self, size: int) -> bytes:
        """Return the first bytes, which are read again afterwards."""
        self.start = self._source.read(size)
        return self.start

    def read(self, size: int) -> bytes:
        """Return up to ``size`` bytes. Raises ``BadArchiveError`` for too many, of a header or of all."""
        data, self.start = (self.start, b"") if self.start else (self._source.read(size), b"")
        self._room.take(len(data))
        if self._header_left is not None:
            self._header_left -= len(data)
            if self._header_left < 0:
                raise BadArchiveError(f"is damaged: a header has more than {MAX_HEADER_BYTES} bytes")
        return data

    @contextmanager
    def header(self) -> Iterator[None]:
        """Bound what is read until the end of the block: a header is kept in memory."""
        self._header_left = MAX_HEADER_BYTES
        yield
        self._header_left = None


def decompressed(packed: PackedFile, compression: str) -> Source:
    """Return the content of a file that is compressed with ``gzip``, with ``zstd`` or not at all (empty).

    Raises ``FabricError`` where this Python was built without zstd.
    """
    if compression == "gzip":
        import gzip

        return gzip.GzipFile(fileobj=packed, mode="rb")
    if compression == "zstd":
        return _zstd_file(packed)
    return packed


def _zstd_file(packed: PackedFile) -> Source:
    try:
        if sys.version_info >= (3, 14):
            from compression import zstd
        else:
            from backports import zstd
    except ImportError as error:
        raise FabricError("This Python was built without zstd.", "Use another Python.") from error

    class Told(zstd.ZstdFile):
        """Its own error is known only where it could be imported."""

        def read(self, size: int | None = -1) -> bytes:
            try:
                return super().read(size)
            except zstd.ZstdError as error:
                raise EOFError(str(error)) from error

    return Told(packed)


@contextmanager
def damage_told() -> Iterator[None]:
    """Turn what libraries say of damaged and hostile data into ``BadArchiveError``."""
    import gzip
    import struct
    import tarfile
    import zipfile
    import zlib

    told = (tarfile.TarError, zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, EOFError)
    careless = (ValueError, LookupError, ArithmeticError, RuntimeError, struct.error, TypeError, AttributeError)
    try:
        yield
    except (*told, *careless) as error:
        raise BadArchiveError(f"is damaged: {str(error) or type(error).__name__}") from error
