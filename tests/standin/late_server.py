"""A model server that is started by a command, and is not ready at once.

    python late_server.py PORT STARTS [--delay S] [--loading S] [--daemonize] [--fail CODE] [--say TEXT]

Every start adds a line with its pid to the file STARTS. It says TEXT; it listens after ``--delay`` seconds, answers
503 for ``--loading`` seconds more, and then lists one model. With ``--daemonize`` it goes on in a session of its own
and the command ends; with ``--fail`` it ends before it listens.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class Late(ThreadingHTTPServer):
    """Knows when it is ready."""

    daemon_threads = True
    allow_reuse_address = True
    ready_at = 0.0


class Handler(BaseHTTPRequestHandler):
    """Lists one model, or is still loading it."""

    def do_GET(self) -> None:
        assert isinstance(self.server, Late)
        status = 200 if time.monotonic() >= self.server.ready_at else 503
        body = json.dumps({"data": [{"id": "late"}]}).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def main() -> None:
    """Serve for ever."""
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("starts", type=Path)
    parser.add_argument("--delay", type=float, default=0.0)
    parser.add_argument("--loading", type=float, default=0.0)
    parser.add_argument("--daemonize", action="store_true")
    parser.add_argument("--fail", type=int)
    parser.add_argument("--say", default="starting")
    wish = parser.parse_args()
    sys.stdout.write(f"{wish.say}\n")
    sys.stdout.flush()
    if wish.daemonize:
        if os.fork():
            os._exit(0)
        os.setsid()
    with wish.starts.open("a", encoding="ascii") as file:
        file.write(f"{os.getpid()}\n")
    time.sleep(wish.delay)
    if wish.fail is not None:
        sys.exit(wish.fail)
    server = Late(("127.0.0.1", wish.port), Handler)
    server.ready_at = time.monotonic() + wish.loading
    server.serve_forever()


if __name__ == "__main__":
    main()
