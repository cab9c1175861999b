"""HTTP to a server on this machine: no proxy, no redirect, no name look-up surprises.

``http.client`` rather than a larger library, because ``bench`` has to see bytes at the moment they leave the
socket; and not even that for a plain GET, because importing it takes as long as all the rest of ``fabric status``.
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO
from urllib.parse import urlsplit

if TYPE_CHECKING:
    import http.client

READ_BYTES = 1 << 16
MAX_ANSWER_BYTES = 1 << 24


@dataclass(frozen=True)
class Response:
    """A whole answer. ``status`` 0 means that nobody answered; ``error`` then says why."""

    status: int
    body: bytes = b""
    error: str | None = None

    def json(self) -> Any:
        """Return the body as JSON, or ``None`` where it is not."""
        try:
            return json.loads(self.body)
        except ValueError:
            return None


@dataclass(frozen=True)
class Arrival:
    """Bytes and the moment they were read from the socket (``time.perf_counter_ns``)."""

    at_ns: int
    data: bytes


class LoopbackClient:
    """Talks to one server by its ``base_url`` (``http://127.0.0.1:8080/v1``).

    Paths that start with ``/v1/`` or ``/`` alike are taken from the server's root.
    """

    def __init__(self, base_url: str, api_key: str | None = None, timeout_s: float = 10.0) -> None:
        address = urlsplit(base_url)
        self._host = address.hostname or "127.0.0.1"
        self._port = address.port or 80
        self._timeout_s = timeout_s
        self._headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}

    def get(self, path: str, timeout_s: float | None = None) -> Response:
        """GET ``path``; never raises for a server that is away."""
        head = [f"GET {path} HTTP/1.0", f"Host: {self._host}:{self._port}", "Accept: application/json"]
        head += [f"{name}: {value}" for name, value in self._headers.items()]
        try:
            with socket.create_connection((self._host, self._port), timeout_s or self._timeout_s) as connection:
                connection.sendall("\r\n".join([*head, "", ""]).encode())
                with connection.makefile("rb") as answer:
                    return _parse(answer.read(MAX_ANSWER_BYTES))
        except OSError as error:
            return Response(0, error=str(error) or type(error).__name__)

    def post(self, path: str, document: Any, timeout_s: float | None = None) -> Response:
        """POST ``document`` as JSON; never raises for a server that is away."""
        return self.request("POST", path, json.dumps(document).encode(), timeout_s=timeout_s)

    def upload(
        self, path: str, file: BinaryIO, size_bytes: int, progress: Callable[[int], None], timeout_s: float
    ) -> Response:
        """POST ``size_bytes`` of ``file`` as they are read; ``progress`` is told how many have just been sent.

        Never raises for a server that is away.
        """
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(size_bytes)}
        return self.request("POST", path, _Told(file, progress), headers, timeout_s)

    def request(
        self,
        method: str,
        path: str,
        body: bytes | _Told | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float | None = None,
    ) -> Response:
        """Send any request, ``body`` as JSON where ``headers`` do not say otherwise, and return the whole answer.

        Never raises for a server that is away.
        """
        import http.client

        connection = self._connect(timeout_s)
        sent = {**self._headers, **({"Content-Type": "application/json"} if body else {}), **(headers or {})}
        try:
            with suppress(BrokenPipeError, ConnectionResetError):  # it may have answered before it had all
                connection.request(method, path, body, sent)
            response = connection.getresponse()
            return Response(response.status, response.read())
        except (OSError, http.client.HTTPException) as error:
            return Response(0, error=str(error) or type(error).__name__)
        finally:
            connection.close()

    @contextmanager
    def stream(self, path: str, document: Any, timeout_s: float | None = None) -> Iterator[Stream]:
        """POST ``document`` and read the answer piece by piece. Raises ``OSError`` or ``HTTPException``.

        ``timeout_s`` is the longest silence, not the longest answer.
        """
        connection = self._connect(timeout_s)
        try:
            sent_ns = time.perf_counter_ns()
            self._send(connection, path, document)
            carrier = connection.sock  # the answer may take it over
            response = connection.getresponse()
            yield Stream(response.status, sent_ns, response, carrier)
        finally:
            connection.close()

    def _connect(self, timeout_s: float | None) -> http.client.HTTPConnection:
        import http.client

        timeout_s = timeout_s or self._timeout_s
        return http.client.HTTPConnection(self._host, self._port, timeout=timeout_s, blocksize=READ_BYTES)

    def _send(self, connection: http.client.HTTPConnection, path: str, document: Any) -> None:
        headers = {**self._headers, "Content-Type": "application/json"}
        connection.request("POST", path, json.dumps(document).encode(), headers)


def _parse(answer: bytes) -> Response:
    """Split an HTTP/1.0 answer, which ends where the connection does."""
    head, _, body = answer.partition(b"\r\n\r\n")
    words = head.split(None, 2)
    if len(words) < 2 or not words[0].startswith(b"HTTP/") or not words[1].isdigit():
        return Response(0, error="it does not speak HTTP")
    return Response(int(words[1]), body)


class Stream:
    """An answer that is still arriving. ``sent_ns`` is the moment just before the request was written."""

    def __init__(
        self, status: int, sent_ns: int, response: http.client.HTTPResponse, carrier: socket.socket | None = None
    ) -> None:
        self.status = status
        self.sent_ns = sent_ns
        self._response = response
        self._carrier = carrier

    def allow_silence(self, timeout_s: float) -> None:
        """From now on wait up to ``timeout_s`` for the next bytes."""
        if self._carrier is not None:
            self._carrier.settimeout(timeout_s)

    def arrivals(self) -> Iterator[Arrival]:
        """Yield bytes as they come, each with the time of reading; parse them afterwards."""
        while data := self._response.read1(READ_BYTES):
            yield Arrival(time.perf_counter_ns(), data)


class _Told:
    """A file that tells how much of it has been read."""

    def __init__(self, file: BinaryIO, progress: Callable[[int], None]) -> None:
        self._file, self._progress = file, progress

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        self._progress(len(data))
        return data
