"""Bytes from elsewhere: a seekable file over HTTP range requests.

A transfer that breaks goes on where it stopped. What is read is not trusted: whoever reads checks the hash.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from provision.errors import FabricError, RefusedError, UnreachableError
from provision.host.address import redact
from provision.host.request import request
from provision.host.transport import QUICK, Patience, Transport
from provision.host.web_errors import RETRY_HINT, StatusError, why

if TYPE_CHECKING:
    import urllib3

__all__ = [
    "QUICK", "NoRangesError", "Patience", "RemoteFile", "StatusError", "Transport", "redact", "request",
]  # fmt: skip

MAX_RESUMES = 5
TAIL_BYTES = 1 << 15


class NoRangesError(FabricError):
    """The server sends whole files only."""


class RemoteFile(io.RawIOBase):
    """A file of known size behind an http(s) URL, read by ranges as it is asked for.

    The last 32 KiB are kept, because that is where a zip archive has its table of contents. ``progress`` is
    called with the number of bytes as they arrive. Raises ``NoRangesError`` on the first read where the
    server cannot start in the middle, ``UnreachableError`` where it cannot be reached or stops for good.
    """

    def __init__(self, url: str, size: int, transport: Transport, progress: Callable[[int], None]) -> None:
        super().__init__()
        self._url, self._size, self._transport, self._progress = url, size, transport, progress
        self._position = 0
        self._pool = transport.pool(url)
        self._stream: urllib3.BaseHTTPResponse | None = None
        self._stream_position = -1
        self._waited_s, self._waited_for_bytes = 0.0, 0
        self._tail = b""

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = max(0, base + offset)
        return self._position

    def close(self) -> None:
        self._drop()
        super().close()

    def read(self, size: int = -1) -> bytes:
        """Return up to ``size`` bytes (all that is left where negative); empty only at the end."""
        left = max(0, self._size - self._position)
        size = left if size < 0 else min(size, left)
        if size == 0:
            return b""
        tail_start = self._size - min(TAIL_BYTES, self._size)
        jumps_to_tail = self._position >= tail_start and self._position != self._stream_position
        data = self._read_tail(tail_start, size) if jumps_to_tail else self._read_stream(size)
        self._position += len(data)
        return data

    def _read_tail(self, start: int, size: int) -> bytes:
        if not self._tail:
            self._tail = self._resuming(lambda have: self._range(start + have, self._size).read(), self._size - start)
        offset = self._position - start
        return self._tail[offset : offset + size]

    def _read_stream(self, size: int) -> bytes:
        return self._resuming(lambda have: self._next(self._position + have, size - have), size)

    def _next(self, position: int, size: int) -> bytes:
        if self._stream is None or self._stream_position != position:
            self._drop()
            self._stream = self._range(position, self._size)
            self._stream_position = position
        started = time.monotonic()
        data: bytes = self._stream.read1(size)  # what has arrived, so that a break loses nothing
        self._hurry(time.monotonic() - started, len(data))
        self._stream_position = position + len(data)
        self._progress(len(data))
        return data

    def _hurry(self, seconds: float, count: int) -> None:
        """One byte now and then keeps the idle limit off: only the time spent waiting counts here."""
        patience = self._transport.patience
        self._waited_s, self._waited_for_bytes = self._waited_s + seconds, self._waited_for_bytes + count
        if self._waited_s >= patience.window_s:
            if self._waited_for_bytes < patience.min_bytes_per_s * patience.window_s:
                raise UnreachableError(f"{redact(self._url)} sends too slowly to ever come to an end.", RETRY_HINT)
            self._waited_s, self._waited_for_bytes = 0.0, 0

    def _resuming(self, read: Callable[[int], bytes], size: int) -> bytes:
        """Collect ``size`` bytes from ``read(bytes so far)``, going on after a broken connection."""
        import urllib3

        data = bytearray()
        trouble = ""
        for _ in range(MAX_RESUMES):
            try:
                while len(data) < size:
                    more = read(len(data))
                    if not more:
                        break
                    data += more
            except (urllib3.exceptions.HTTPError, OSError) as error:
                self._drop()
                trouble = why(error)
            else:
                if len(data) == size:
                    return bytes(data)
                self._drop()
                trouble = "the connection ended too early"
        raise UnreachableError(f"The download from {redact(self._url)} keeps breaking: {trouble}.", RETRY_HINT)

    def _range(self, start: int, end: int) -> urllib3.BaseHTTPResponse:
        response = request(self._pool, self._url, self._transport, {"Range": f"bytes={start}-{end - 1}"})
        whole = response.status == 200 and int(response.headers.get("Content-Length", -1)) in (-1, self._size)
        if whole and start == 0:
            return response
        if whole:
            response.close()
            raise NoRangesError(f"{redact(self._url)} is sent only as a whole.")
        expected = f"bytes {start}-{end - 1}/{self._size}"
        got = response.headers.get("Content-Range", "")
        if response.status != 206 or got.replace("*", str(self._size)) != expected:
            response.close()
            raise RefusedError(
                f"{redact(self._url)} answers with other bytes than asked for ({response.status} {got!r}, "
                f"expected {expected!r}).",
                "The file at the index differs from the pinned one, or a proxy is in between.",
            )
        return response

    def _drop(self) -> None:
        if self._stream is not None:
            self._stream.close()
        self._stream = None
