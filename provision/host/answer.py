"""A whole HTTP answer, read within bounds of size and time."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Mapping
from dataclasses import field
from typing import TYPE_CHECKING, Any, Literal

from provision.domain.frozen import frozen

if TYPE_CHECKING:
    import http.client

READ_BYTES = 1 << 16
MAX_HEAD_BYTES = 1 << 16
MAX_ANSWER_BYTES = 1 << 24
MAX_DIGITS = 15  # no file has that many bytes; what Python makes of thousands of digits is an error
_HEAD_END = b"\r\n\r\n"
_BROKE_OFF = "the answer broke off"


class NobodyThereError(ConnectionError):
    """No connection was made: nobody listens, there is no way there, or the name is unknown."""


@frozen
class Response:
    """A whole answer. ``status`` 0 means that nobody answered as a server does; ``error`` then says why.

    ``absence`` is ``away`` then where no connection was made, and ``silent`` where one was that ended, or lasted,
    without a whole answer. The names of ``headers`` are in lower case.
    """

    status: int
    body: bytes = b""
    error: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    absence: Literal["away", "silent"] | None = None

    def json(self) -> Any:
        """Return the body as JSON, or ``None`` where it is not."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            return None


def read_whole(response: http.client.HTTPResponse, max_bytes: int) -> Response:
    """Read an answer to its end, none that is larger than ``max_bytes``. Raises ``OSError`` or ``HTTPException``."""
    body = response.read(max_bytes + 1)
    if len(body) > max_bytes:
        return _too_large(max_bytes)
    if response.length:  # what was announced and did not come
        return Response(0, error=_BROKE_OFF, absence="silent")
    headers = {name.lower(): value for name, value in response.getheaders()}
    return Response(response.status, body, headers=headers)


def read_plain(connection: socket.socket, deadline: float, max_bytes: int) -> Response:
    """Read an HTTP/1.0 answer: as much as it announces, else up to where the connection ends.

    ``deadline`` is a moment of ``time.monotonic``. Raises ``OSError`` where the connection breaks, or it has passed.
    """
    parts: list[bytes] = []
    size, wanted, seen_head = 0, max_bytes + READ_BYTES, False
    while size < wanted:
        left_s = deadline - time.monotonic()
        if left_s <= 0:
            raise TimeoutError("timed out")
        connection.settimeout(left_s)
        part = connection.recv(READ_BYTES)
        if not part:
            break
        parts.append(part)
        size += len(part)
        if not seen_head and _HEAD_END in (so_far := b"".join(parts)):
            seen_head, parts = True, [so_far]
            wanted = min(wanted, _announced(so_far, wanted))
        elif not seen_head and size > MAX_HEAD_BYTES:
            break
    return _parse(b"".join(parts), max_bytes)


def _announced(answer: bytes, unknown: int) -> int:
    """Return how many bytes an answer has in all by its own word, ``unknown`` where it does not say."""
    head, _, _ = answer.partition(_HEAD_END)
    length = _length(_headers(head))
    return unknown if length is None else len(head) + len(_HEAD_END) + length


def _length(headers: Mapping[str, str]) -> int | None:
    return header_number(headers.get("content-length"))


def header_number(text: str | None) -> int | None:
    """Return the number that a header holds, such as a size; ``None`` for anything else, and for one beyond reason."""
    digits = (text or "").strip()
    return int(digits) if digits.isascii() and digits.isdecimal() and len(digits) <= MAX_DIGITS else None


def _parse(answer: bytes, max_bytes: int) -> Response:
    if not answer:
        return Response(0, error="it ended the connection without an answer", absence="silent")
    head, end, body = answer.partition(_HEAD_END)
    words = head.split(None, 2)
    if not end or len(words) < 2 or not words[0].startswith(b"HTTP/") or not words[1].isdigit() or len(words[1]) != 3:
        return Response(0, error="it does not speak HTTP")
    headers = _headers(head)
    length = _length(headers)
    if max(len(body), length or 0) > max_bytes:
        return _too_large(max_bytes)
    if length is not None and len(body) < length:
        return Response(0, error=_BROKE_OFF, absence="silent")
    return Response(int(words[1]), body[:length], headers=headers)


def _headers(head: bytes) -> dict[str, str]:
    lines = (line.partition(":") for line in head.decode("latin-1").split("\r\n")[1:])
    return {name.strip().lower(): value.strip() for name, colon, value in lines if colon}


def not_answered(error: Exception) -> Response:
    """Return what stands for an answer that an error prevented, in its own words; of a certificate, why it is bad."""
    why = getattr(error, "verify_message", None)
    said = f"its certificate is not trusted: {why}" if why else str(error) or type(error).__name__
    if isinstance(error, NobodyThereError):
        return Response(0, error=said, absence="away")
    return Response(0, error=said, absence="silent" if isinstance(error, (TimeoutError, ConnectionError)) else None)


def _too_large(max_bytes: int) -> Response:
    return Response(0, error=f"the answer is larger than {max_bytes >> 20} MiB")
