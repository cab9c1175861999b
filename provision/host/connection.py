"""One connection to a server: plain or encrypted, straight or through a proxy, and never to where nobody should ask.

``http.client`` rather than a larger library, because ``bench`` has to see bytes at the moment they leave the socket.
"""

from __future__ import annotations

import http.client
import io
import socket
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from provision.domain.frozen import frozen
from provision.domain.web_address import is_loopback
from provision.host.answer import NobodyThereError
from provision.host.certificates import tls_context
from provision.host.proxy import Proxy, proxy_for

if TYPE_CHECKING:
    import ssl

    from _typeshed import WriteableBuffer


@frozen
class Origin:
    """Where a server is: ``host`` without brackets."""

    scheme: str
    host: str
    port: int

    @property
    def authority(self) -> str:
        """The host and port as they stand in an address and in the header ``Host``."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Way(NamedTuple):
    """An open connection, what comes before the path of each request, and the headers that each one needs."""

    connection: http.client.HTTPConnection
    before_path: str = ""
    headers: Mapping[str, str] = {}


def connect(origin: Origin, timeout_s: float, env: Mapping[str, str], context: ssl.SSLContext | None) -> Way:
    """Open a connection; ``context`` is for https.

    Raises ``OSError`` or ``HTTPException``, as sending does; ``NobodyThereError`` where nothing was there to talk to.
    """
    proxy = proxy_for(origin.scheme, origin.host, env)
    way = _through(proxy, origin, timeout_s, env, context) if proxy else _straight(origin, timeout_s, context)
    try:
        way.connection.connect()
        if proxy is None and not is_loopback(origin.host):
            _check_peer(origin.host, way.connection.sock)
    except BaseException as error:
        is_connected = way.connection.sock is not None
        way.connection.close()
        if isinstance(error, OSError) and not is_connected:
            raise NobodyThereError(str(error) or type(error).__name__) from error
        raise
    return way


def _straight(origin: Origin, timeout_s: float, context: ssl.SSLContext | None) -> Way:
    if context is None:
        return Way(http.client.HTTPConnection(origin.host, origin.port, timeout=timeout_s))
    return Way(http.client.HTTPSConnection(origin.host, origin.port, timeout=timeout_s, context=context))


def _through(
    proxy: Proxy, origin: Origin, timeout_s: float, env: Mapping[str, str], context: ssl.SSLContext | None
) -> Way:
    """An encrypted connection goes through a tunnel; of a plain one the proxy reads every request."""
    to_proxy = tls_context(env) if proxy.scheme == "https" else None
    if context is None:
        way = _straight(Origin(proxy.scheme, proxy.host, proxy.port), timeout_s, to_proxy)
        headers = {**proxy.headers, "Host": origin.authority}
        return Way(way.connection, f"{origin.scheme}://{origin.authority}", headers)
    tunnel: http.client.HTTPConnection
    if to_proxy is None:
        tunnel = http.client.HTTPSConnection(proxy.host, proxy.port, timeout=timeout_s, context=context)
    else:
        tunnel = _TunnelInTls(proxy, timeout_s, to_proxy, context, origin.host)
    tunnel.set_tunnel(origin.host, origin.port, proxy.headers)
    return Way(tunnel)


class _TunnelInTls(http.client.HTTPConnection):
    """TLS to a server, through a tunnel of a proxy that is itself reached by TLS."""

    default_port = http.client.HTTPS_PORT

    def __init__(
        self, proxy: Proxy, timeout_s: float, to_proxy: ssl.SSLContext, to_server: ssl.SSLContext, server: str
    ) -> None:
        super().__init__(proxy.host, proxy.port, timeout=timeout_s)
        self._to_proxy, self._to_server, self._server = to_proxy, to_server, server

    def connect(self) -> None:
        """See ``http.client``, which knows no proxy of this kind."""
        from urllib3.util.ssltransport import SSLTransport

        plain = socket.create_connection((self.host, self.port), self.timeout)
        self.sock = outer = self._to_proxy.wrap_socket(plain, server_hostname=self.host)
        self._tunnel()  # type: ignore[attr-defined]  # missing in the stubs
        self.sock = cast("socket.socket", SSLTransport(outer, self._to_server, self._server))


def _check_peer(host: str, connected: socket.socket) -> None:
    """A name may lead elsewhere than when it was checked; where it led is seen on the open connection only."""
    from provision.domain.web_address import why_unsafe

    address = str(connected.getpeername()[0])
    reason = why_unsafe(address)
    if reason:
        raise OSError(f"{host} leads to {address}, which is {reason}")


class Timed:
    """What ``http.client`` needs of a socket, with one end in time for everything: no drip keeps it open."""

    def __init__(self, inner: socket.socket, timeout_s: float) -> None:
        self._inner = inner
        self._deadline = time.monotonic() + timeout_s

    def hurry(self) -> None:
        """Let the next operation wait only for what is left. Raises ``TimeoutError`` where nothing is."""
        left_s = self._deadline - time.monotonic()
        if left_s <= 0:
            raise TimeoutError("timed out")
        self._inner.settimeout(left_s)

    def sendall(self, data: Any) -> None:
        """See ``socket.socket``."""
        self.hurry()
        self._inner.sendall(data)

    def makefile(self, _mode: str) -> io.BufferedReader:
        """See ``socket.socket``; for reading only."""
        return io.BufferedReader(_TimedReader(self, self._inner.makefile("rb", buffering=0)))

    def close(self) -> None:
        """See ``socket.socket``."""
        self._inner.close()


class _TimedReader(io.RawIOBase):
    def __init__(self, timed: Timed, inner: io.RawIOBase) -> None:
        super().__init__()
        self._timed, self._inner = timed, inner

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int | None:
        self._timed.hurry()
        return cast("int | None", self._inner.readinto(buffer))

    def close(self) -> None:
        self._inner.close()
        super().close()
