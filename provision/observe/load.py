"""A closed loop: C clients, each of which sends its next request when its last one is answered."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from provision.domain.frozen import frozen
from provision.host.chat_request import CHAT_PATH
from provision.host.endpoint import EndpointClient
from provision.host.recording import Recording, record

JOIN_S = 0.5


@frozen
class Load:
    """The recordings, in the order in which the requests were begun, and the time from first to last byte."""

    recordings: tuple[Recording, ...]
    duration_s: float


class _Loop:
    """What the clients share: the requests that wait, and where the recordings go."""

    def __init__(self, requests: Sequence[Any], timeout_s: float) -> None:
        self.recordings: list[Recording | None] = [None] * len(requests)
        self._waiting = list(enumerate(requests))[::-1]
        self._timeout_s = timeout_s
        self._stopped = threading.Event()

    def stop(self) -> None:
        self._stopped.set()

    def work(self, client: EndpointClient) -> None:
        """Send requests until none is left."""
        while not self._stopped.is_set():
            try:
                number, request = self._waiting.pop()  # atomic, unlike asking first
            except IndexError:
                return
            self.recordings[number] = record(client, CHAT_PATH, request, self._timeout_s)


def closed_loop(
    client_factory: Callable[[], EndpointClient], requests: Sequence[Any], concurrency: int, timeout_s: float
) -> Load:
    """Send all ``requests``, at most ``concurrency`` at a time; nothing is parsed before the last has ended."""
    loop = _Loop(requests, timeout_s)
    clients = [client_factory() for _ in range(min(concurrency, len(requests)))]
    threads = [threading.Thread(target=loop.work, args=(client,), daemon=True) for client in clients]
    started = time.perf_counter()
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            while thread.is_alive():
                thread.join(JOIN_S)
    finally:
        loop.stop()  # after Ctrl-C nobody begins another request
    duration_s = time.perf_counter() - started
    return Load(tuple(recording for recording in loop.recordings if recording), duration_s)
