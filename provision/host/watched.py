"""Connections that look whom they reached before anything is sent, and that nobody can hold open for ever."""

from __future__ import annotations

import math
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from provision.domain.frozen import frozen

if TYPE_CHECKING:
    import urllib3

    from provision.host.transport import Patience

POLL_S = 0.1


class Watchdog:
    """Cuts a connection that brings too little, or where ``stopped`` says so.

    An idle limit alone is no limit: one byte now and then keeps it off. ``cut`` ends a read that another thread
    waits in. Within every ``window_s`` seconds ``least_bytes`` have to arrive, and all within ``total_s``. ``reason``
    says why it was cut; nothing that is read from then on may be used.
    """

    def __init__(
        self,
        cut: Callable[[], None],
        window_s: float,
        least_bytes: int,
        stopped: Callable[[], bool],
        total_s: float = math.inf,
    ) -> None:
        self.reason: str | None = None
        self._cut, self._window_s, self._least_bytes, self._stopped = cut, window_s, least_bytes, stopped
        self._total_s = total_s
        self._arrived = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    def arrived(self, count: int) -> None:
        """Count bytes that came."""
        self._arrived += count

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Watch while the body runs."""
        self._thread.start()
        try:
            yield
        finally:
            self._over.set()
            self._thread.join()

    def _watch(self) -> None:
        counted, begun = 0, time.monotonic()
        ends = begun + self._window_s
        while self.reason is None and not self._over.wait(POLL_S):
            if self._stopped():
                self._bite("stopped")
            elif time.monotonic() >= begun + self._total_s:
                self._bite(f"it is not whole after {self._total_s:g} s")
            elif time.monotonic() >= ends:
                if self._arrived - counted < self._least_bytes:
                    self._bite(f"{self._arrived - counted} bytes in {self._window_s:g} s are too few")
                counted, ends = self._arrived, time.monotonic() + self._window_s

    def _bite(self, reason: str) -> None:
        self.reason = reason
        with suppress(OSError, ValueError, RuntimeError):  # it may be over already
            self._cut()


def body_watchdog(response: urllib3.BaseHTTPResponse, patience: Patience, stopped: Callable[[], bool]) -> Watchdog:
    """Return what watches the body of an answer, by the limits of ``patience``."""
    least_bytes = int(patience.min_bytes_per_s * patience.window_s)
    return Watchdog(response.shutdown, patience.window_s, least_bytes, stopped, patience.total_s)


class CuttableSocket(ssl.SSLSocket):
    """An encrypted connection that may be cut while another thread reads from it.

    ``SSLSocket.shutdown`` forgets the encryption first: the reader would take what still arrives, which is encrypted,
    for the content.
    """

    def shutdown(self, how: int) -> None:
        """See ``socket.socket``."""
        socket.socket.shutdown(self, how)


@frozen
class Watch:
    """How connections are watched: each is shown to ``look``, with its site, before it is used, and is to answer soon.

    The head of an answer has to be there within ``answer_timeout_s``.
    """

    look: Callable[[socket.socket, str], None]
    answer_timeout_s: float
    stopped: Callable[[], bool]

    def connected(self, connection: socket.socket, site: str) -> socket.socket:
        """Return the connection. It is closed where ``look`` raises."""
        try:
            self.look(connection, site)
        except BaseException:
            connection.close()
            raise
        return connection

    def answered(self, under: socket.socket | None, answer: Callable[[], urllib3.HTTPResponse]) -> urllib3.HTTPResponse:
        """Return what ``answer`` waits for. Raises ``TimeoutError`` where it takes too long."""
        plain = getattr(under, "socket", under)  # urllib3's encryption inside of a proxy's cannot be cut itself
        cut = (lambda: plain.shutdown(socket.SHUT_RD)) if plain is not None else (lambda: None)
        dog = Watchdog(cut, self.answer_timeout_s, 1, self.stopped)
        with dog.watching():
            response = answer()
        if dog.reason:  # a head that is cut short is taken for a whole one
            response.close()
            raise TimeoutError(dog.reason)
        return response


def watched_pools(watch: Watch) -> dict[str, Any]:
    """Return urllib3's pool classes by scheme, for connections that are watched."""
    from urllib3.connection import HTTPConnection, HTTPSConnection
    from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

    class PlainConnection(HTTPConnection):
        def _new_conn(self) -> socket.socket:
            return watch.connected(super()._new_conn(), f"http://{self.host}")

        def getresponse(self) -> urllib3.HTTPResponse:  # type: ignore[override]  # as urllib3 does it
            return watch.answered(self.sock, super().getresponse)

    class SecureConnection(HTTPSConnection):
        def _new_conn(self) -> socket.socket:
            return watch.connected(super()._new_conn(), f"https://{self.host}")

        def getresponse(self) -> urllib3.HTTPResponse:  # type: ignore[override]  # as urllib3 does it
            return watch.answered(self.sock, super().getresponse)

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = PlainConnection

    class SecurePool(HTTPSConnectionPool):
        ConnectionCls = SecureConnection

    return {"http": PlainPool, "https": SecurePool}
