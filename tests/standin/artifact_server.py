"""A web server on loopback that answers every path as it is told to, well or badly, and records who asked.

For release pages, a hub, a registry, a mirror, a proxy: ``server.put("/file", Answer(b"..."))``. Several answers for
one path are given in turn, each as often as its ``times`` says, the last one for ever.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Literal
from urllib.parse import unquote

from tests.standin.listener import Handler, Listener

CHUNK_BYTES = 1 << 14
PATIENCE_S = 60.0


@dataclass(frozen=True)
class Answer:
    """What one path answers.

    ``body`` is the whole file, of which ranges are sent by ``ranges``: as asked, never, from another place than
    asked, or with a ``Content-Range`` of nonsense. ``etag`` is that of the content where it is ``None``, and none
    where it is empty. What can go wrong with a body: ``cut_at`` and ``stall_at`` count the bytes of this answer
    after which the connection ends or falls silent, ``flip_at`` is an offset in the file, ``drip_s`` the seconds
    before every single byte, ``endless`` repeats it for ever. Without ``says_length`` it ends with the connection.
    ``delay_s`` is waited before the head. ``times`` is how often this answer is given before the next in turn.
    """

    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    times: int | None = 1
    ranges: Literal["honour", "ignore", "shift", "nonsense"] = "honour"
    etag: str | None = None
    cut_at: int | None = None
    stall_at: int | None = None
    flip_at: int | None = None
    drip_s: float | None = None
    delay_s: float = 0.0
    endless: bool = False
    says_length: bool = True
    zipped: bool = False

    def content(self) -> bytes:
        """The bytes as they are sent, errors included."""
        body = bytearray(self.body)
        if self.flip_at is not None:
            body[self.flip_at] ^= 0xFF
        return gzip.compress(bytes(body)) if self.zipped else bytes(body)

    def tag(self) -> str:
        """The ETag of the content."""
        return self.etag if self.etag is not None else f'"{hashlib.sha256(self.body).hexdigest()[:16]}"'


def page(text: str = "Please log in to this network.", **changes: Any) -> Answer:
    """Return a web page."""
    body = f"<!DOCTYPE html>\n<html><body>{text}</body></html>".encode()
    return Answer(body, headers={"Content-Type": "text/html"}, **changes)


def document(value: Any, **changes: Any) -> Answer:
    """Return a JSON document."""
    return Answer(json.dumps(value).encode(), headers={"Content-Type": "application/json"}, **changes)


def redirect(location: str, status: int = 302, **changes: Any) -> Answer:
    """Return a redirect."""
    return Answer(status=status, headers={"Location": location}, **changes)


def failure(status: int, retry_after: str | None = None, **changes: Any) -> Answer:
    """Return an error."""
    return Answer(b"not now", status, {} if retry_after is None else {"Retry-After": retry_after}, **changes)


@dataclass(frozen=True)
class Asked:
    """One request. Names of headers are in lower case; ``target`` is the path with its query.

    ``from_port`` tells connections apart.
    """

    method: str
    path: str
    target: str
    headers: dict[str, str]
    body: bytes
    from_port: int


class ArtifactServer:
    """Serves what was ``put``. ``seen`` is every request so far; ``released`` lets stalled answers go."""

    def __init__(self, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1") -> None:
        self.seen: list[Asked] = []
        self.released = threading.Event()
        self.fallback: Callable[[Asked], Answer] = lambda _: failure(404)
        self._script: dict[str, list[Answer]] = {}
        self._lock = threading.Lock()
        self._host, self._scheme = host, "https" if tls else "http"
        self._listener = Listener(_Handler, self, tls=tls)

    @property
    def port(self) -> int:
        return self._listener.port

    @property
    def root(self) -> str:
        """The address without a path."""
        return f"{self._scheme}://{self._host}:{self.port}"

    def put(self, path: str, *answers: Answer) -> str:
        """Answer ``path`` so from now on; return its address."""
        with self._lock:
            self._script[path] = list(answers)
        return f"{self.root}{path}"

    def asked(self, path: str) -> list[Asked]:
        """The requests for one path so far."""
        return [seen for seen in self.seen if seen.path == path]

    def answer(self, asked: Asked) -> Answer:
        """Record a request and return the answer whose turn it is."""
        with self._lock:
            self.seen.append(asked)
            turns = self._script.get(asked.path)
            if not turns:
                return self.fallback(asked)
            now = turns[0]
            if len(turns) > 1 and now.times is not None:
                turns[:1] = [replace(now, times=now.times - 1)] if now.times > 1 else []
            return now

    def close(self) -> None:
        """Let stalled answers go and stop."""
        self.released.set()
        self._listener.stop()


@contextmanager
def serving(tls: ssl.SSLContext | None = None, host: str = "127.0.0.1") -> Iterator[ArtifactServer]:
    """Run a server while the body runs. ``host`` is the name in its addresses."""
    server = ArtifactServer(tls, host)
    try:
        yield server
    finally:
        server.close()


class _Handler(Handler):
    server: Listener

    def do_GET(self) -> None:
        released = self.server.site.released
        length = int(self.headers.get("Content-Length", 0))
        path = unquote(self.path.partition("?")[0])
        answer = self.server.site.answer(
            Asked(self.command, path, self.path, self.lower_headers(), self.rfile.read(length), self.client_address[1])
        )
        if answer.delay_s:
            released.wait(answer.delay_s)
        content = answer.content()
        start, status, ranges = self._range(answer, len(content))
        own: dict[str, str] = {"ETag": answer.tag()} if answer.tag() and answer.status < 300 else {}
        if answer.says_length and not answer.endless:
            own["Content-Length"] = str(len(content) - start)
        else:
            own["Connection"] = "close"
        if answer.zipped:
            own["Content-Encoding"] = "gzip"
        self.send_response(status)
        for name, value in {**own, **ranges, **answer.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self._send(answer, content[start:])

    do_HEAD = do_POST = do_PUT = do_CONNECT = do_GET  # noqa: N815 - named by the base class

    def _range(self, answer: Answer, size: int) -> tuple[int, int, dict[str, str]]:
        """Return the first byte to send, the status and the headers for it."""
        asked = self.headers.get("Range", "")
        condition = self.headers.get("If-Range")
        stale = condition is not None and condition != answer.tag()
        if not asked.startswith("bytes=") or answer.ranges == "ignore" or stale or answer.status != 200:
            return 0, answer.status, {}
        start = int(asked.removeprefix("bytes=").partition("-")[0])
        if start >= size:
            return size, 416, {"Content-Range": f"bytes */{size}"}
        if answer.ranges == "nonsense":
            return start, 206, {"Content-Range": "some of it"}
        if answer.ranges == "shift":
            start -= 1
        return start, 206, {"Content-Range": f"bytes {start}-{size - 1}/{size}"}

    def _send(self, answer: Answer, content: bytes) -> None:
        sent, step = 0, 1 if answer.drip_s else CHUNK_BYTES
        limits = [limit for limit in (answer.cut_at, answer.stall_at) if limit is not None]
        end = min([len(content), *limits])
        while sent < end or (answer.endless and content):
            if answer.drip_s and self.server.site.released.wait(answer.drip_s):
                break
            at = sent % len(content)
            piece = content[at : at + (step if answer.endless else min(step, end - sent))]
            self.wfile.write(piece)
            sent += len(piece)
        if answer.stall_at is not None:
            self.wfile.flush()
            self.server.site.released.wait(PATIENCE_S)
        if limits or not answer.says_length:
            self.close_connection = True
