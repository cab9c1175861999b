"""Connections that look whom they reached before anything is sent, and that nobody can hold open for ever."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Watch:
    """How connections are watched: each is shown to ``look`` before it is used, and is to answer soon.

    The head of an answer has to be there within ``answer_timeout_s``.
    """

    look: Callable[[socket.socket], None]
    answer_timeout_s: float
    stopped: Callable[[], bool]

    def connected(self, connection: socket.socket) -> socket.socket:
        """Return the connection. It is closed where ``look`` raises."""
        try:
            self.look(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def answered(self, under: socket.socket | None, answer: Callable[[], urllib3.HTTPResponse]) -> urllib3.HTTPResponse:
        """Return what ``answer`` waits for. Raises ``TimeoutError`` where it takes too long."""
        cut = (lambda: under.shutdown(socket.SHUT_RD)) if under is not None else (lambda: None)
        dog = Watchdog(cut, self.answer_timeout_s, 1, self.stopped)
        with dog.watching():
            response = answer()
        if dog.reason:  # a head that is cut short is taken for a whole one
            raise TimeoutError(dog.reason)
        return response


def watched_pools(watch: Watch) -> dict[str, Any]:
    """Return urllib3's pool classes by scheme, for connections that are watched."""
    from urllib3.connection import HTTPConnection, HTTPSConnection
    from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

    class PlainConnection(HTTPConnection):
        def _new_conn(self) -> socket.socket:
            return watch.connected(super()._new_conn())

        def getresponse(self) -> urllib3.HTTPResponse:  # type: ignore[override]  # as urllib3 does it
            return watch.answered(self.sock, super().getresponse)

    class SecureConnection(HTTPSConnection):
        def _new_conn(self) -> socket.socket:
            return watch.connected(super()._new_conn())

        def getresponse(self) -> urllib3.HTTPResponse:  # type: ignore[override]  # as urllib3 does it
            return watch.answered(self.sock, super().getresponse)

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = PlainConnection

    class SecurePool(HTTPSConnectionPool):
        ConnectionCls = SecureConnection

    return {"http": PlainPool, "https": SecurePool}
