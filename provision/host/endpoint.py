"""HTTP to a model server, on this machine or elsewhere, that speaks the API of OpenAI.

A plain GET on this machine needs nothing but a socket: importing ``http.client`` takes as long as all the rest of
``fabric status``.
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cached_property
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple
from urllib.parse import urlsplit

from provision.domain.frozen import frozen
from provision.domain.key_header import key_header
from provision.domain.web_address import DEFAULT_PORTS, is_loopback
from provision.host.answer import MAX_ANSWER_BYTES, NobodyThereError, Response, not_answered, read_plain, read_whole

if TYPE_CHECKING:
    import http.client
    import ssl

    from provision.host.connection import Way

__all__ = ["Arrival", "EndpointClient", "Response", "Stream"]

READ_BYTES = 1 << 16


@frozen
class Arrival:
    """Bytes and the moment they were read from the socket (``time.perf_counter_ns``)."""

    at_ns: int
    data: bytes


class _Request(NamedTuple):
    method: str
    path: str
    body: bytes | _Told | None
    headers: Mapping[str, str]


class EndpointClient:
    """Talks to one server by its ``base_url`` (``http://127.0.0.1:8080/v1``, ``https://example.com/api/openai/v1``).

    Paths that start with ``/v1/`` or ``/`` alike are taken from what comes before the ``/v1`` of the base URL. The
    key goes into the header ``Authorization`` and nowhere else; no redirect is followed, so that it stays with its
    host. ``env`` (else this process's) names proxies and certificates; this machine is never asked through a proxy.

    Raises ``UsageError`` for a key that no header can carry.
    """

    def __init__(
        self,
        base_url: str,
        api_key: str | None = None,
        timeout_s: float = 10.0,
        env: Mapping[str, str] | None = None,
    ) -> None:
        address = urlsplit(base_url)
        self._scheme = address.scheme
        self._host = address.hostname or "127.0.0.1"
        self._port = DEFAULT_PORTS.get(self._scheme, 80) if address.port is None else address.port
        self._root = address.path.rstrip("/").removesuffix("/v1")
        self._timeout_s = timeout_s
        self._env = os.environ if env is None else env
        self._key = key_header(api_key)

    @property
    def has_key(self) -> bool:
        """Whether requests carry a key."""
        return bool(self._key)

    def get(
        self,
        path: str,
        timeout_s: float | None = None,
        *,
        with_key: bool = True,
        max_bytes: int = MAX_ANSWER_BYTES,
    ) -> Response:
        """GET ``path``; never raises for a server that is away, nor for one that sends too much or too slowly."""
        wait_s = timeout_s or self._timeout_s
        headers = {"Accept": "application/json", **(self._key if with_key else {})}
        if self._scheme != "https" and is_loopback(self._host):
            return self._get_plain(path, headers, wait_s, max_bytes)
        return self._whole(_Request("GET", path, None, headers), wait_s, max_bytes)

    def post(self, path: str, document: Any, timeout_s: float | None = None) -> Response:
        """POST ``document`` as JSON; never raises, as ``get``."""
        return self._whole(self._post(path, document), timeout_s or self._timeout_s, MAX_ANSWER_BYTES)

    def request(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        timeout_s: float | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        """Send any request, ``body`` as JSON, and return the whole answer; never raises, as ``get``."""
        every = {**self._key, **({"Content-Type": "application/json"} if body else {}), **(headers or {})}
        return self._whole(_Request(method, path, body, every), timeout_s or self._timeout_s, MAX_ANSWER_BYTES)

    def upload(
        self, path: str, file: BinaryIO, size_bytes: int, progress: Callable[[int], None], timeout_s: float
    ) -> Response:
        """POST ``size_bytes`` of ``file`` as they are read; ``progress`` is told how many have just been sent.

        Never raises, as ``get``. ``timeout_s`` is for all of it.
        """
        headers = {**self._key, "Content-Type": "application/octet-stream", "Content-Length": str(size_bytes)}
        return self._whole(_Request("POST", path, _Told(file, progress), headers), timeout_s, MAX_ANSWER_BYTES)

    @contextmanager
    def stream(self, path: str, document: Any, timeout_s: float | None = None) -> Iterator[Stream]:
        """POST ``document`` and read the answer piece by piece. Raises ``OSError`` or ``HTTPException``."""
        way = self._connect(timeout_s or self._timeout_s)
        try:
            request = self._post(path, document)
            sent_ns = time.perf_counter_ns()
            self._send(way, request)
            carrier = way.connection.sock  # the answer may take it over
            response = way.connection.getresponse()
            yield Stream(response.status, sent_ns, response, carrier)
        finally:
            way.connection.close()

    def _get_plain(self, path: str, headers: Mapping[str, str], wait_s: float, max_bytes: int) -> Response:
        authority = f"[{self._host}]:{self._port}" if ":" in self._host else f"{self._host}:{self._port}"
        head = [f"GET {self._root}{path} HTTP/1.0", f"Host: {authority}", "Connection: close"]
        head += [f"{name}: {value}" for name, value in headers.items()]
        deadline = time.monotonic() + wait_s
        try:
            with _connected(self._host, self._port, wait_s) as connection:
                connection.sendall("\r\n".join([*head, "", ""]).encode())
                return read_plain(connection, deadline, max_bytes)
        except OSError as error:
            return not_answered(error)

    def _post(self, path: str, document: Any) -> _Request:
        headers = {**self._key, "Content-Type": "application/json"}
        return _Request("POST", path, json.dumps(document).encode(), headers)

    def _whole(self, request: _Request, wait_s: float, max_bytes: int) -> Response:
        import http.client

        from provision.host.connection import Timed

        try:
            way = self._connect(wait_s)
            try:
                way.connection.sock = Timed(way.connection.sock, wait_s)
                with suppress(BrokenPipeError, ConnectionResetError):  # it may have answered before it had all
                    self._send(way, request)
                return read_whole(way.connection.getresponse(), max_bytes)
            finally:
                way.connection.close()
        except (OSError, http.client.HTTPException, UnicodeError) as error:
            return not_answered(error)

    def _connect(self, timeout_s: float) -> Way:
        from provision.host.connection import Origin, connect

        context = self._context if self._scheme == "https" else None
        return connect(Origin(self._scheme, self._host, self._port), timeout_s, self._env, context)

    @cached_property
    def _context(self) -> ssl.SSLContext:
        from provision.host.certificates import tls_context

        return tls_context(self._env)

    def _send(self, way: Way, request: _Request) -> None:
        target = f"{way.before_path}{self._root}{request.path}"
        headers = {"User-Agent": "fabric", **request.headers, **way.headers}
        way.connection.request(request.method, target, request.body, headers)


class _Told:
    """A file that tells how much of it has been read."""

    def __init__(self, file: BinaryIO, progress: Callable[[int], None]) -> None:
        self._file, self._progress = file, progress

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        self._progress(len(data))
        return data


def _connected(host: str, port: int, timeout_s: float) -> socket.socket:
    """Return a connection to this machine. Raises ``TimeoutError`` where somebody listens and takes no more of them."""
    try:
        return socket.create_connection((host, port), timeout_s)
    except TimeoutError:
        raise
    except OSError as error:
        raise NobodyThereError(str(error)) from error


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
