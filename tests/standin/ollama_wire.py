"""Reading requests and writing answers for the stand-in, as upstream's web framework does it."""

from __future__ import annotations

import ipaddress
import json
import socket
import sys
import time
from datetime import datetime, timezone
from http.server import BaseHTTPRequestHandler
from typing import Any

from tests.standin.ollama_disk import Disk, Kept, RefusalError
from tests.standin.ollama_runner import Scheduler


def stamp(seconds: float | None = None) -> str:
    return datetime.fromtimestamp(time.time() if seconds is None else seconds, timezone.utc).isoformat()


class Base(BaseHTTPRequestHandler):
    """Reading requests and writing answers as gin does."""

    disk: Disk
    scheduler: Scheduler
    version: str
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    streaming = False

    def log_message(self, *_: Any) -> None:
        pass

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        print(f'[GIN] {stamp()} | {int(code)} | 127.0.0.1 | {self.command} "{self.path}"', file=sys.stderr, flush=True)

    def body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            data = b""
            while size := int(self.rfile.readline(), 16):
                data += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return data
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def document(self) -> dict[str, Any]:
        data = self.body()
        if not data:
            raise RefusalError(400, "missing request body")
        try:
            document = json.loads(data)
        except ValueError as error:
            raise RefusalError(400, f"invalid character: {error}") from error
        if not isinstance(document, dict):
            raise RefusalError(400, "json: cannot unmarshal into Go value")
        return document

    def send(self, status: int, document: Any) -> None:
        self.send_bytes(status, json.dumps(document).encode(), "application/json; charset=utf-8")

    def send_bytes(self, status: int, data: bytes, kind: str = "text/plain; charset=utf-8") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def begin(self, kind: str) -> None:
        self.streaming = True
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

    def chunk(self, data: bytes) -> None:
        self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        self.wfile.flush()

    def line(self, document: Any) -> None:
        """One line of a long answer; the first one begins it."""
        if not self.streaming:
            self.begin("application/x-ndjson")
        self.chunk(json.dumps(document).encode() + b"\n")

    def end(self) -> None:
        self.wfile.write(b"0\r\n\r\n")
        self.streaming = False

    def allowed(self) -> bool:
        """Upstream's guard against pages that rebind a name to this machine's address."""
        host = self.headers.get("Host", "")
        host = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
        try:
            address = ipaddress.ip_address(host.strip("[]"))
        except ValueError:
            known = ("", "localhost", socket.gethostname().lower())
            return host.lower() in known or host.lower().endswith((".localhost", ".local", ".internal"))
        return address.is_private or address.is_loopback or address.is_unspecified

    def kept(self, name: str) -> Kept:
        found = self.disk.find(name)
        if found is None:
            raise RefusalError(404, f"model '{name}' not found")
        return found
