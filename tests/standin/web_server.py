"""A web server on loopback whose answers a test writes down, plain or encrypted; and a proxy that makes tunnels."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from tests.standin.listener import Handler, listening

JSON = {"Content-Type": "application/json"}


@dataclass(frozen=True)
class Request:
    """What a client sent."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes = b""


@dataclass(frozen=True)
class Answer:
    """What is sent back; ``raw`` is sent as it is in place of all else."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=lambda: JSON)
    raw: Callable[[socket.socket], None] | None = None


Site = Callable[[Request], Answer]


@dataclass
class WebServer:
    """A running server and every request that it got."""

    port: int
    requests: list[Request] = field(default_factory=list)

    @property
    def paths(self) -> list[str]:
        return [request.path for request in self.requests]


class _Handler(Handler):
    site: Site
    seen: list[Request]

    def version_string(self) -> str:
        return "BaseHTTP"

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        request = Request(self.command, self.path, dict(self.headers.items()), body)
        self.seen.append(request)
        answer = self.site(request)
        if answer.raw is not None:
            self.close_connection = True
            with suppress(OSError):
                answer.raw(self.connection)
            return
        self.send_response_only(answer.status)
        for name, value in {"Content-Length": str(len(answer.body)), **answer.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(answer.body)

    do_GET = do_POST = do_OPTIONS = _answer  # noqa: N815 - the names that the library calls


@contextmanager
def serving_site(site: Site, context: ssl.SSLContext | None = None, port: int = 0) -> Iterator[WebServer]:
    """Serve ``site`` until the end of the block; with ``context``, encrypted."""
    seen: list[Request] = []
    handler = type("Site", (_Handler,), {"site": staticmethod(site), "seen": seen})
    with listening(handler, tls=context, port=port) as listener:
        yield WebServer(listener.port, seen)


@contextmanager
def tunnelling(to_port: int, refuses: bool = False, tls: ssl.SSLContext | None = None) -> Iterator[WebServer]:
    """Run a proxy that takes CONNECT only, and connects to ``to_port`` whatever host is asked for.

    ``tls`` is for the way to the proxy itself.
    """

    class Tunnel(Handler):
        protocol_version = "HTTP/1.0"

        def do_CONNECT(self) -> None:
            seen.append(Request("CONNECT", self.path, dict(self.headers.items())))
            if refuses:
                self.send_error(407)
                return
            self.send_response(200)
            self.end_headers()
            with socket.create_connection(("127.0.0.1", to_port)) as inner:
                back = threading.Thread(target=_copy, args=(inner, self.connection), daemon=True)
                back.start()
                _copy(self.connection, inner)
                back.join(10)

    seen: list[Request] = []
    with listening(Tunnel, tls=tls) as listener:
        yield WebServer(listener.port, seen)


def _copy(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(1 << 16):
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)
