"""A long answer that comes line by line, such as newline-delimited JSON."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from provision.host.answer import MAX_ANSWER_BYTES
from provision.host.endpoint import EndpointClient, Stream


class LineStream:
    """The lines of one answer as they arrive."""

    def __init__(self, stream: Stream) -> None:
        self.status = stream.status
        self._stream = stream

    def allow_silence(self, timeout_s: float) -> None:
        """From now on wait up to ``timeout_s`` for the next bytes; ``TimeoutError`` comes after that."""
        self._stream.allow_silence(timeout_s)

    def lines(self) -> Iterator[bytes]:
        """Yield each line without its end; empty ones are left out."""
        waiting = b""
        for arrival in self._stream.arrivals():
            *whole, waiting = (waiting + arrival.data).split(b"\n")
            yield from filter(None, whole)
            if len(waiting) > MAX_ANSWER_BYTES:
                raise ConnectionAbortedError("a line without an end")
        if waiting:
            yield waiting


@contextmanager
def post_for_lines(client: EndpointClient, path: str, document: Any, silence_s: float) -> Iterator[LineStream]:
    """POST ``document`` and read the answer line by line. Raises ``OSError`` for whatever breaks the connection."""
    import http.client

    try:
        with client.stream(path, document, silence_s) as stream:
            yield LineStream(stream)
    except http.client.HTTPException as error:
        raise ConnectionAbortedError(str(error) or type(error).__name__) from error
