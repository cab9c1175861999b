"""What every web server of the tests stands on: a listener on loopback in a thread of its own."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Handler(BaseHTTPRequestHandler):
    """Keeps connections open, and keeps quiet."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        pass

    def lower_headers(self) -> dict[str, str]:
        """Return the headers, their names in lower case."""
        return {name.lower(): value for name, value in self.headers.items()}

    def answer_whole(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        """Send one answer whose length is known."""
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


class Listener(ThreadingHTTPServer):
    """Listens on ``port``, or on any free one, from the moment it is made until ``stop``; ``site`` is the handler's."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(
        self,
        handler: type[BaseHTTPRequestHandler],
        site: Any = None,
        *,
        tls: ssl.SSLContext | None = None,
        port: int = 0,
    ) -> None:
        super().__init__(("127.0.0.1", port), handler)
        self.site = site
        if tls is not None:  # each thread shakes hands for itself: a client that does not would hold up all others
            self.socket = tls.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)
        self._thread = threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    @property
    def root(self) -> str:
        """The address without a path, as it is where nothing is encrypted."""
        return f"http://127.0.0.1:{self.port}"

    def stop(self) -> None:
        self.shutdown()
        self.server_close()
        self._thread.join(5)

    def handle_error(self, *_: Any) -> None:
        """A client that goes away in the middle is what many tests are about."""


@contextmanager
def listening(handler: type[BaseHTTPRequestHandler], site: Any = None, **options: Any) -> Iterator[Listener]:
    """Listen until the end of the block."""
    listener = Listener(handler, site, **options)
    try:
        yield listener
    finally:
        listener.stop()
