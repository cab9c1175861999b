"""A server on loopback that answers with the very bytes that a test writes down, and tells when its client goes away.

The answer to each request is a row of steps: bytes are sent at once, a number is a pause in seconds, and ``Act`` is
what happens to the connection. The n-th request gets the n-th answer, every later one the last.
"""

from __future__ import annotations

import queue
import select
import socket
import struct
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from enum import Enum
from typing import BinaryIO

from tests.standin.web_server import Request

LOOK_S = 0.01


class Act(Enum):
    """What a server may do to a connection: end it, break it, or keep it open and say nothing."""

    FIN = "fin"
    RESET = "reset"
    HOLD = "hold"


Step = bytes | float | Act
Answer = Sequence[Step]


def drip(data: bytes, pause_s: float = 0.0003) -> list[Step]:
    """Return steps that send every byte in a packet of its own."""
    return [step for place in range(len(data)) for step in (data[place : place + 1], pause_s)]


class FaultServer:
    """A running server. ``requests`` is what it was asked, ``connections`` how many were made."""

    def __init__(self, answers: Sequence[Answer]) -> None:
        self.requests: list[Request] = []
        self.connections = 0
        self._answers = answers
        self._left: queue.SimpleQueue[float] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.root = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._spawn(self._accept)

    @property
    def base_url(self) -> str:
        return f"{self.root}/v1"

    def client_left(self, within_s: float = 3.0) -> bool:
        """Tell whether a client goes away while it is being answered; wait for that."""
        try:
            self._left.get(timeout=within_s)
        except queue.Empty:
            return False
        return True

    def stop(self) -> None:
        self._stopped.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(5)
        self._listener.close()

    def _spawn(self, work: object, *arguments: object) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with suppress(OSError):
            while not self._stopped.is_set():
                connection, _ = self._listener.accept()
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self.connections += 1
                self._spawn(self._converse, connection)

    def _converse(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as reader, suppress(OSError):
            while self._asked(connection) and (request := read_request(reader)):
                with self._lock:
                    answer = self._answers[min(len(self.requests), len(self._answers) - 1)]
                    self.requests.append(request)
                if not self._answer(connection, answer):
                    return

    def _asked(self, connection: socket.socket) -> bool:
        """Wait for something to read; ``False`` where the server is stopped meanwhile."""
        while not self._stopped.is_set():
            if select.select([connection], [], [], LOOK_S)[0]:
                return True
        return False

    def _answer(self, connection: socket.socket, answer: Answer) -> bool:
        """Take the steps; ``False`` where the connection is at its end."""
        for step in answer:
            if step is Act.RESET:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            if step in (Act.RESET, Act.FIN):
                return False
            if not (self._send(connection, step) if isinstance(step, bytes) else self._wait(connection, step)):
                self._left.put(time.monotonic())
                return False
        return True

    def _send(self, connection: socket.socket, data: bytes) -> bool:
        try:
            connection.sendall(data)
        except OSError:
            return False
        return True

    def _wait(self, connection: socket.socket, step: float | Act) -> bool:
        """Wait, for ever where ``step`` is no number; ``False`` as soon as the client has gone."""
        ends = time.monotonic() + step if isinstance(step, float) else float("inf")
        while (left_s := ends - time.monotonic()) > 0 and not self._stopped.is_set():
            if select.select([connection], [], [], min(LOOK_S, left_s))[0]:
                return False  # nobody asks again before the answer has ended: this is the end, or a reset
        return True


def read_request(reader: BinaryIO) -> Request | None:
    """Return the next request, ``None`` at the end of the connection."""
    line = reader.readline().decode("latin-1")
    if not line:
        return None
    method, path, _ = line.split(" ", 2)
    headers = {}
    while field := reader.readline().decode("latin-1").strip():
        name, _, value = field.partition(":")
        headers[name.lower()] = value.strip()
    return Request(method, path, headers, reader.read(int(headers.get("content-length", "0"))))


@contextmanager
def faulty(*answers: Answer) -> Iterator[FaultServer]:
    """Serve these answers until the end of the block."""
    server = FaultServer(answers)
    try:
        yield server
    finally:
        server.stop()
