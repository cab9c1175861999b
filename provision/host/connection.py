"""Connections that look whom they reached before anything is sent, and that nobody can hold open for ever."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import urllib3

POLL_S = 0.1


class Watchdog:
    """Cuts a connection that brings too little, or where ``stopped`` says so.

    An idle limit alone is no limit: one byte now and then keeps it off. ``cut`` ends a read that another thread
    waits in. Within every ``window_s`` seconds ``least_bytes`` have to arrive. ``reason`` says why it was cut.
    """

    def __init__(self, cut: Callable[[], None], window_s: float, least_bytes: int, stopped: Callable[[], bool]) -> None:
        self.reason: str | None = None
        self._cut, self._window_s, self._least_bytes, self._stopped = cut, window_s, least_bytes, stopped
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
        counted, ends = 0, time.monotonic() + self._window_s
        while self.reason is None and not self._over.wait(POLL_S):
            if self._stopped():
                self._bite("stopped")
            elif time.monotonic() >= ends:
                if self._arrived - counted < self._least_bytes:
                    self._bite(f"{self._arrived - counted} bytes in {self._window_s:g} s are too few")
                counted, ends = self._arrived, time.monotonic() + self._window_s

    def _bite(self, reason: str) -> None:
        self.reason = reason
        with suppress(OSError, ValueError, RuntimeError):  # it may be over already
            self._cut()


def watched_pools(
    look: Callable[[socket.socket], None], answer_timeout_s: float, stopped: Callable[[], bool]
) -> dict[str, Any]:
    """Return urllib3's pool classes by scheme, for connections that are shown to ``look`` before they are used.

    The head of an answer has to be there within ``answer_timeout_s``.
    """
    from urllib3.connection import HTTPConnection, HTTPSConnection
    from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

    def connected(connection: socket.socket) -> socket.socket:
        try:
            look(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def answered(connection: HTTPConnection, answer: Callable[[], urllib3.HTTPResponse]) -> urllib3.HTTPResponse:
        under = connection.sock
        dog = Watchdog(lambda: under.shutdown(socket.SHUT_RD) if under else None, answer_timeout_s, 1, stopped)
        with dog.watching():
            return answer()

    class PlainConnection(HTTPConnection):
        def _new_conn(self) -> socket.socket:
            return connected(super()._new_conn())

        def getresponse(self) -> urllib3.HTTPResponse:  # type: ignore[override]  # as urllib3 does it
            return answered(self, super().getresponse)

    class SecureConnection(HTTPSConnection):
        def _new_conn(self) -> socket.socket:
            return connected(super()._new_conn())

        def getresponse(self) -> urllib3.HTTPResponse:  # type: ignore[override]  # as urllib3 does it
            return answered(self, super().getresponse)

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = PlainConnection

    class SecurePool(HTTPSConnectionPool):
        ConnectionCls = SecureConnection

    return {"http": PlainPool, "https": SecurePool}
