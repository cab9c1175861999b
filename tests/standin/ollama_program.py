"""A stand-in for the ``ollama`` program: what fabric uses of it, written from upstream's sources and documentation.

It is not Ollama. It fetches only from registries on loopback, its key pair opens nothing, embeddings are made up, and
``create`` keeps a GGUF as it is where upstream writes it anew. Everything else on which fabric relies is as
upstream has it: the layout of its directories, its texts and statuses, its environment, one ``llama-server`` process
for a model. A model whose name begins with ``odd-`` brings the trouble that it names; see ``ollama_http.py``.

    ollama_program.py EXECUTABLE --version | serve
"""

from __future__ import annotations

import base64
import contextlib
import errno
import http.client
import http.server
import json
import os
import secrets
import signal
import socketserver
import sys
import threading
import traceback
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.standin.ollama_disk import Disk, RefusalError
from tests.standin.ollama_openai import OpenAIInference
from tests.standin.ollama_runner import Scheduler
from tests.standin.ollama_wire import Base

VERSION = os.environ.get("STANDIN_OLLAMA_VERSION", "0.32.15")


def address() -> tuple[str, int]:
    """OLLAMA_HOST as upstream reads it."""
    text = os.environ.get("OLLAMA_HOST", "").strip()
    scheme, separator, rest = text.partition("://")
    rest = (rest if separator else text).partition("/")[0]
    usual = {"http": 80, "https": 443}.get(scheme, 11434) if separator else 11434
    host, colon, port = rest.rpartition(":")
    if not colon or rest.endswith("]"):
        host, port = rest, str(usual)
    number = int(port) if port.isdigit() and int(port) < 65536 else usual
    return host.strip("[]") or "127.0.0.1", number


class Handler(OpenAIInference):
    """Finds the route."""

    def routes(self) -> dict[tuple[str, str], Any]:
        return {
            ("GET", "/"): lambda: self.send_bytes(200, b"Ollama is running"),
            ("GET", "/api/version"): lambda: self.send(200, {"version": self.version}),
            ("GET", "/api/tags"): self.tags,
            ("GET", "/api/ps"): self.running,
            ("POST", "/api/show"): self.show,
            ("POST", "/api/pull"): self.pull,
            ("POST", "/api/create"): self.create,
            ("POST", "/api/copy"): self.copy,
            ("DELETE", "/api/delete"): self.delete,
            ("POST", "/api/generate"): self.generate,
            ("POST", "/api/chat"): self.chat,
            ("POST", "/api/embed"): self.embed,
            ("POST", "/api/embeddings"): self.embed_one,
            ("GET", "/v1/models"): self.openai_models,
            ("POST", "/v1/chat/completions"): self.openai_chat,
            ("POST", "/v1/completions"): self.openai_complete,
            ("POST", "/v1/embeddings"): self.openai_embed,
        }

    def handle_any(self) -> None:
        self.streaming = False
        if not self.allowed():
            self.close_connection = True
            self.send_bytes(403, b"")
            return
        try:
            self._route()
        except RefusalError as error:
            self.refuse(error)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True
        except Exception:  # noqa: BLE001  # as gin recovers
            traceback.print_exc()
            self.close_connection = True
            if not self.streaming:
                with contextlib.suppress(OSError):
                    self.send_bytes(500, b"")

    def refuse(self, error: RefusalError) -> None:
        if self.streaming:
            self.line({"error": error.text})
            self.end()
        elif self.path.startswith("/v1/"):
            kind = {400: "invalid_request_error", 404: "not_found_error"}.get(error.status, "api_error")
            said = {"message": error.text, "type": kind, "param": None, "code": None}
            self.send(error.status, {"error": said})
        else:
            self.send(error.status, {"error": error.text})

    def _route(self) -> None:
        path = self.path.partition("?")[0]
        method = "GET" if self.command == "HEAD" and path in {"/", "/api/version", "/api/tags"} else self.command
        routes = self.routes()
        if path.startswith("/api/blobs/") and method in {"HEAD", "POST"}:
            digest = path.removeprefix("/api/blobs/")
            return self.has_blob(digest) if method == "HEAD" else self.take_blob(digest)
        if path.startswith("/v1/models/") and method == "GET":
            return self.openai_model(path.removeprefix("/v1/models/"))
        if (method, path) in routes:
            routes[method, path]()
            return None
        self.close_connection = True
        known = {known for _, known in routes}
        return (
            self.send_bytes(405, b"405 method not allowed")
            if path in known
            else self.send_bytes(404, b"404 page not found")
        )

    do_GET = do_POST = do_DELETE = do_HEAD = handle_any  # noqa: N815


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True
    request_queue_size = 64

    def server_bind(self) -> None:
        socketserver.TCPServer.server_bind(self)  # without asking a name server who we are
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])


def make_keys(home: Path) -> None:
    """Files where upstream has them; their content opens nothing."""
    private = home / ".ollama" / "id_ed25519"
    if private.exists():
        return
    print(f"Couldn't find '{private}'. Generating new private key.", flush=True)
    private.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    private.touch(mode=0o600)
    body = base64.b64encode(secrets.token_bytes(64)).decode()
    private.write_text(f"-----BEGIN OPENSSH PRIVATE KEY-----\n{body}\n-----END OPENSSH PRIVATE KEY-----\n")
    public = f"ssh-ed25519 {base64.b64encode(secrets.token_bytes(51)).decode()}\n"
    private.with_suffix(".pub").write_text(public)
    print(f"Your new public key is: \n\n{public}", flush=True)


def serve(executable: Path) -> int:
    if not os.environ.get("HOME"):
        return failed("$HOME is not defined")
    home = Path(os.environ["HOME"])
    host, port = address()
    try:
        make_keys(home)
        Server.address_family = 10 if ":" in host else 2
        server = Server((host, port), Handler)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return failed(f"listen tcp {host}:{port}: bind: address already in use")
        return failed(f"{(error.strerror or str(error)).lower()}: {error.filename or host}")
    models = Path(os.environ.get("OLLAMA_MODELS") or home / ".ollama" / "models")
    try:
        disk = Disk(models)
    except OSError as error:
        return failed(f"mkdir {models}: {(error.strerror or '').lower()}: ensure path elements are traversable")
    if os.environ.get("OLLAMA_NOPRUNE", "").lower() not in {"1", "true"}:
        disk.prune()
    scheduler = Scheduler(disk, executable)
    Base.disk, Base.scheduler, Base.version = disk, scheduler, VERSION
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    where = f"{server.server_name}:{server.server_port}"
    print(
        f'time=now level=INFO source=routes.go msg="Listening on {where} (version {VERSION})"',
        file=sys.stderr,
        flush=True,
    )
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    while not ended.wait(3600):
        pass
    server.server_close()
    scheduler.end_all()
    sys.stderr.flush()
    os._exit(0)


def failed(text: str) -> int:
    print(f"Error: {text}", file=sys.stderr, flush=True)
    return 1


def tell_version() -> int:
    host, port = address()
    connection = http.client.HTTPConnection("127.0.0.1" if host == "0.0.0.0" else host, port, timeout=5)  # noqa: S104
    try:
        connection.request("GET", "/api/version")
        said = str(json.loads(connection.getresponse().read())["version"])
    except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError):
        print("Warning: could not connect to a running Ollama instance")
        said = ""
    if said:
        print(f"ollama version is {said}")
    if said != VERSION:
        print(f"Warning: client version is {VERSION}")
    return 0


def main(arguments: list[str]) -> int:
    executable, *rest = arguments
    if rest in (["--version"], ["-v"]):
        return tell_version()
    if rest in (["serve"], ["start"]):
        return serve(Path(executable).resolve())
    return failed(f'unknown command "{" ".join(rest)}" for "ollama"')


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
