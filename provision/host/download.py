"""Bytes from elsewhere: a seekable file over HTTP range requests, or over a local ``file:`` URL.

A transfer that breaks goes on where it stopped. What is read is not trusted: whoever reads checks the hash.
"""

from __future__ import annotations

import io
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import unquote, urljoin, urlsplit

from provision.errors import FabricError, RefusedError, UnreachableError
from provision.host.url import without_login

if TYPE_CHECKING:
    import urllib3

CONNECT_TIMEOUT_S = 10.0
IDLE_TIMEOUT_S = 30.0
MAX_REDIRECTS = 5
MAX_RESUMES = 5
MAX_RETRY_AFTER_S = 20
TAIL_BYTES = 1 << 15
LOOPBACK = ("127.0.0.1", "localhost", "::1")


class NoRangesError(FabricError):
    """The server sends whole files only."""


@dataclass(frozen=True)
class Transport:
    """How to reach the network: the certificate bundle, the proxies, and hosts allowed without encryption."""

    env: Mapping[str, str]
    certificate: str | None = None
    trusted_hosts: tuple[str, ...] = ()

    def pool(self, url: str) -> urllib3.PoolManager:
        """Return a connection pool for ``url``, through the proxy that the environment names for it."""
        import urllib3

        context = ssl.create_default_context(cafile=self.certificate or self.env.get("SSL_CERT_FILE"))
        retries = urllib3.Retry(
            total=6,
            connect=2,
            redirect=0,
            backoff_factor=0.3,
            status_forcelist=(429, 500, 502, 503, 504),
            raise_on_redirect=False,
            retry_after_max=MAX_RETRY_AFTER_S,
        )
        timeout = urllib3.Timeout(connect=CONNECT_TIMEOUT_S, read=IDLE_TIMEOUT_S)
        proxy = self.proxy(url)
        if proxy:
            return urllib3.ProxyManager(proxy, ssl_context=context, retries=retries, timeout=timeout)
        return urllib3.PoolManager(ssl_context=context, retries=retries, timeout=timeout)

    def proxy(self, url: str) -> str | None:
        """Return the proxy for ``url`` by the usual variables; loopback never goes through one."""
        from urllib.request import proxy_bypass_environment  # type: ignore[attr-defined]  # missing in the stubs

        parts = urlsplit(url)
        lower = {name.lower(): value for name, value in self.env.items() if name.lower().endswith("_proxy")}
        bypass = proxy_bypass_environment(parts.hostname or "", {"no": lower.get("no_proxy", "")})
        if parts.hostname in LOOPBACK or bypass:
            return None
        return lower.get(f"{parts.scheme}_proxy") or lower.get("all_proxy")

    def check(self, url: str) -> None:
        """Refuse what is neither https, nor http to this machine or a host that the user trusts."""
        parts = urlsplit(url)
        if parts.scheme == "https":
            return
        if parts.scheme == "http" and (parts.hostname in LOOPBACK or parts.hostname in self.trusted_hosts):
            return
        raise RefusedError(
            f"Will not fetch {redact(url)}: only https is trusted.",
            "Use an https mirror, or name the host in pip's trusted-host setting.",
        )


def redact(url: str) -> str:
    """Return ``url`` without user name, password and query, for messages."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.scheme}://{host}{port}{parts.path}"


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
        data: bytes = self._stream.read1(size)  # what has arrived, so that a break loses nothing
        self._stream_position = position + len(data)
        self._progress(len(data))
        return data

    def _resuming(self, read: Callable[[int], bytes], size: int) -> bytes:
        """Collect ``size`` bytes from ``read(bytes so far)``, going on after a broken connection."""
        import urllib3

        data = bytearray()
        trouble: object = None
        for _ in range(MAX_RESUMES):
            try:
                while len(data) < size:
                    more = read(len(data))
                    if not more:
                        break
                    data += more
            except (urllib3.exceptions.HTTPError, OSError) as error:
                self._drop()
                trouble = error
            else:
                if len(data) == size:
                    return bytes(data)
                self._drop()
                trouble = "the connection ended too early"
        raise UnreachableError(f"The download from {redact(self._url)} keeps breaking: {trouble}.", _RETRY_HINT)

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


_RETRY_HINT = "Check the network, the proxy and the package index, then run the same command again."


def request(
    pool: urllib3.PoolManager, url: str, transport: Transport, headers: Mapping[str, str]
) -> urllib3.BaseHTTPResponse:
    """GET ``url`` without reading the body, every redirect checked; credentials stay with their host.

    Raises ``UnreachableError`` for anything but 200, 206 and 416.
    """
    import urllib3

    for _ in range(MAX_REDIRECTS):
        transport.check(url)
        parts = urlsplit(url)
        sent = {"Accept-Encoding": "identity", **headers}
        if parts.username:
            login = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            sent.update(urllib3.make_headers(basic_auth=login))
        try:
            response = pool.request("GET", without_login(url), headers=sent, preload_content=False, redirect=False)
        except urllib3.exceptions.HTTPError as error:
            reason = getattr(error, "reason", None) or error
            raise UnreachableError(f"Cannot reach {redact(url)}: {reason}.", _RETRY_HINT) from error
        location = response.headers.get("Location")
        if response.status not in (301, 302, 303, 307, 308) or not location:
            return _checked(response, url)
        response.close()
        url = urljoin(without_login(url), location)
    raise UnreachableError(f"{redact(url)} redirects for ever.", _RETRY_HINT)


def _checked(response: urllib3.BaseHTTPResponse, url: str) -> urllib3.BaseHTTPResponse:
    if response.status in (200, 206, 416):
        return response
    response.close()
    raise UnreachableError(f"{redact(url)} answers {response.status} {response.reason or ''}.", _RETRY_HINT)
