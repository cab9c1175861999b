"""A large file elsewhere, read window by window as a parser asks for it."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import TYPE_CHECKING, BinaryIO

from provision.artifacts.web_json import refuse_page, unexpected
from provision.errors import InvalidInputError, RefusedError, UnreachableError
from provision.host.address import redact
from provision.host.site import BrokenOffError, get_range
from provision.host.transport import Transport

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

CHUNK_BYTES = 1 << 16
FIRST_WINDOW_BYTES = 1 << 18  # a small model's header with its vocabulary is seldom larger
LAST_WINDOW_BYTES = 1 << 22
TAIL_BYTES = 1 << 16  # a zip archive is read from its end, and there backwards
MAX_READ_BYTES = 1 << 27  # the largest vocabularies take 20 MB
MAX_BREAKS = 5


class WholeFilesOnlyError(UnreachableError):
    """The server cannot send a part of a file alone."""


def open_ranged(
    url: str, size_bytes: int, transport: Transport, headers: Mapping[str, str], most_bytes: int | None = None
) -> BinaryIO:
    """Return a file of ``size_bytes`` behind ``url``, read by range requests.

    Reading raises ``UnreachableError`` where the server does not answer or keeps breaking off, ``WholeFilesOnlyError``
    where it has no ranges, ``RefusedError`` where it sends other bytes than asked for or the file changes meanwhile,
    ``InvalidInputError`` where more than ``most_bytes`` are read, by default more than any header has.
    """
    return io.BufferedReader(_Windows(url, size_bytes, transport, headers, most_bytes or MAX_READ_BYTES), CHUNK_BYTES)


class _Windows(io.RawIOBase):
    def __init__(
        self, url: str, size_bytes: int, transport: Transport, headers: Mapping[str, str], most_bytes: int
    ) -> None:
        super().__init__()
        self._url, self._size, self._transport, self._headers = url, size_bytes, transport, headers
        self._most_bytes = most_bytes
        self._position = self._start = self._read_bytes = 0
        self._window, self._etag = b"", ""
        self._next_bytes = FIRST_WINDOW_BYTES

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._position = max(0, {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence] + offset)
        return self._position

    def tell(self) -> int:
        return self._position

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Fill ``buffer`` as far as one window goes."""
        target = memoryview(buffer).cast("B")
        if self._position >= self._size or not target:
            return 0
        if not self._start <= self._position < self._start + len(self._window):
            self._fetch()
        at = self._position - self._start
        data = self._window[at : at + len(target)]
        target[: len(data)] = data
        self._position += len(data)
        return len(data)

    def _fetch(self) -> None:
        """Fetch the window at the position, a smaller one after each time that the line breaks."""
        for breaks in range(MAX_BREAKS):
            try:
                self._fetch_window()
                break
            except BrokenOffError:
                if breaks == MAX_BREAKS - 1:
                    raise
            self._next_bytes = FIRST_WINDOW_BYTES
            self._transport.wait(self._transport.patience.backoff(breaks) if breaks else 0.0)

    def _fetch_window(self) -> None:
        tail = max(0, self._size - TAIL_BYTES)
        start = min(self._position, tail)
        end = self._size if start == tail else min(self._size, start + self._next_bytes)
        self._read_bytes += end - start
        if self._read_bytes > self._most_bytes:
            raise InvalidInputError("Its header is larger than any header is.", "Look for another file of the model.")
        answer = get_range(self._url, self._transport, self._headers, start, end)
        refuse_page(answer)
        if answer.status == 200:
            raise whole_files_only(self._url)
        if answer.status != 206:
            raise unexpected(answer)
        told = answer.headers.get("content-range", "").replace("*", str(self._size))
        etag = answer.headers.get("etag", "")
        wrong = told != f"bytes {start}-{end - 1}/{self._size}" or len(answer.body) != end - start
        if wrong or (self._etag and etag != self._etag):
            raise RefusedError(
                f"{redact(self._url)} answers with other bytes than asked for, or the file changes meanwhile.",
                "Nothing was kept. Run the same command again; a proxy may be in between.",
            )
        self._window, self._start, self._etag = answer.body, start, etag
        self._next_bytes = min(2 * self._next_bytes, LAST_WINDOW_BYTES)


def whole_files_only(url: str) -> WholeFilesOnlyError:
    """Return the error for a server that cannot send the beginning of a file alone."""
    return WholeFilesOnlyError(
        f"{redact(url)} is sent only as a whole, so its header cannot be looked at first.",
        "Download it and use file:PATH, or use a site that answers range requests.",
    )
