"""The stand-in's routes for models: what is there, pull, create, blobs, copy, delete. Texts are upstream's.

Trouble on purpose, by a model's name or for all by STANDIN_OLLAMA_FAULT. In a pull: ``odd-error``, ``odd-full`` and
``odd-newer`` (an error inside a good answer), ``odd-nosuccess`` (it ends before ``success``), ``odd-stall`` (the same
line for ever), ``odd-silence`` (no line), ``odd-cut`` (the connection breaks, once). In inference: ``odd-busy`` (503).
The rest needs no name: a registry that serves wrong bytes, a GGUF of an unknown architecture, a release without
``lib/ollama/llama-server``, a model file with a ``.crash`` beside it.
"""

from __future__ import annotations

import hashlib
import ipaddress
import json
import os
import socket
import sys
import threading
import time
from datetime import datetime, timezone
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

from tests.standin.ollama_disk import CONFIG, MANIFEST, MODEL, PARAMS, TEMPLATE, Disk, Kept, RefusalError, parse
from tests.standin.ollama_pull import Pull, PullError
from tests.standin.ollama_runner import Scheduler

INVALID_NAME = "invalid model name"
PULL_ERRORS = {
    "odd-error": "max retries exceeded: unexpected EOF",
    "odd-full": "write /models/blobs/sha256-00-partial: no space left on device",
    "odd-newer": "pull model manifest: 412: The model you are attempting to pull requires a newer version of Ollama.",
}


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


class Models(Base):
    """Everything that is not inference."""

    def tags(self) -> None:
        self.send(200, {"models": [self._listed(kept) for kept in self._newest_first()]})

    def _newest_first(self) -> list[Kept]:
        return sorted(self.disk.all(), key=lambda kept: kept.path.stat().st_mtime, reverse=True)

    def _listed(self, kept: Kept) -> dict[str, Any]:
        return {
            "name": kept.name.short,
            "model": kept.name.short,
            "modified_at": stamp(kept.path.stat().st_mtime),
            "size": kept.size,
            "digest": hashlib.sha256(kept.data).hexdigest(),
            "details": self.disk.details(kept),
        }

    def running(self) -> None:
        models = [
            {
                **{name: value for name, value in self._listed(runner.kept).items() if name != "modified_at"},
                "size_vram": 0,
                "expires_at": runner.expires.isoformat(),
                "context_length": runner.key[1],
            }
            for runner in self.scheduler.loaded()
        ]
        self.send(200, {"models": models})

    def show(self) -> None:
        document = self.document()
        name = document.get("model") or document.get("name")
        if not name:
            raise RefusalError(400, "model is required")
        if parse(name) is None:
            raise RefusalError(400, INVALID_NAME)
        kept = self.kept(name)
        template = self.disk.layer(kept, TEMPLATE)
        parameters = self.disk.json(kept, PARAMS)
        self.send(
            200,
            {
                "modelfile": f'# Modelfile generated by "ollama show"\n\nFROM {self.disk.layer(kept, MODEL)}\n',
                "parameters": "\n".join(f"{key:<30} {value}" for key, value in parameters.items()),
                "template": template.read_text(encoding="utf-8") if template else "{{ .Prompt }}",
                "details": self.disk.details(kept),
                "model_info": _facts(self.disk.layer(kept, MODEL)),
                "capabilities": ["completion"],
                "modified_at": stamp(kept.path.stat().st_mtime),
            },
        )

    def pull(self) -> None:
        document = self.document()
        text = document.get("model") or document.get("name") or ""
        name = parse(text)
        if name is None:
            raise RefusalError(400, INVALID_NAME)
        found = self.disk.find(text)
        quiet = document.get("stream") is False
        told: dict[str, Any] = {}

        def tell(line: dict[str, Any]) -> None:
            told.update(line)
            if not quiet:
                self.line(line)
            self._disturb(name.model, line)

        try:
            Pull(self.disk, found.name if found else name, bool(document.get("insecure")), tell).run()
        except (PullError, OSError) as error:
            if isinstance(error, (BrokenPipeError, ConnectionResetError)):
                raise
            self._tell_error(str(error), 500)
            return
        except _CutError:
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True
            return
        except _EndedError:
            pass
        self.end() if self.streaming else self.send(200, {"status": told["status"]})

    def _disturb(self, model: str, line: dict[str, Any]) -> None:
        """What goes wrong on purpose: by the model's name, or by STANDIN_OLLAMA_FAULT for all."""
        fault = model if model.startswith("odd-") else os.environ.get("STANDIN_OLLAMA_FAULT", "")
        if fault in PULL_ERRORS:
            raise PullError(PULL_ERRORS[fault])
        if fault == "odd-nosuccess" and line["status"] == "writing manifest":
            raise _EndedError
        if line.get("completed", 0) == 0 or line["completed"] == line["total"]:
            return
        if fault == "odd-cut" and self.disk.root.joinpath("cut").exists() is False:
            self.disk.root.joinpath("cut").touch()
            raise _CutError
        while fault == "odd-stall":
            time.sleep(0.02)
            self.line(line)
        if fault == "odd-silence":
            threading.Event().wait(60)

    def _tell_error(self, text: str, status: int) -> None:
        if not self.streaming:
            self.send(status, {"error": text})
            return
        self.line({"error": text})
        self.end()

    def create(self) -> None:
        document = self.document()
        files = document.get("files") or {}
        name = parse(document.get("model") or document.get("name") or "")
        if any(path.startswith("/") or ".." in path.split("/") for path in files):
            raise RefusalError(400, "file path must be relative")
        if name is None:
            raise RefusalError(400, INVALID_NAME)
        quiet = document.get("stream") is False
        try:
            for status in self._steps(document, files):
                if not quiet:
                    self.line({"status": status})
        except RefusalError as error:
            self._tell_error(error.text, error.status)
            return
        self.end() if self.streaming else self.send(200, {"status": "success"})

    def _steps(self, document: dict[str, Any], files: dict[str, str]) -> Any:
        name = parse(document.get("model") or document["name"])
        assert name
        layers, config = [], {"model_format": "gguf"}
        if document.get("from"):
            kept = self.kept(document["from"])
            layers = [layer for layer in kept.document["layers"] if layer["mediaType"] == MODEL]
            config = self.disk.json(kept, CONFIG)
        elif not files:
            raise RefusalError(400, "neither 'from' or 'files' was specified")
        for digest in files.values():
            path = self.disk.blob(digest)
            yield "parsing GGUF"
            if not path.exists():
                raise RefusalError(500, f"open {path}: no such file or directory")
            with path.open("rb") as file:
                if file.read(4) != b"GGUF":
                    raise RefusalError(400, "supplied file was not in GGUF format")
            config |= _described(path)
            os.utime(path)
            layers.append({"mediaType": MODEL, "digest": digest, "size": path.stat().st_size})
            yield f"using existing layer {digest}"
        for value, media_type in ((document.get("template"), TEMPLATE), (document.get("parameters"), PARAMS)):
            if value:
                data = value.encode() if isinstance(value, str) else json.dumps(value).encode() + b"\n"
                layers.append(self.disk.add(data, media_type))
                yield f"creating new layer {layers[-1]['digest']}"
        config_layer = self.disk.add(json.dumps({**config, "architecture": "amd64", "os": "linux"}).encode(), CONFIG)
        yield "writing manifest"
        head = {"schemaVersion": 2, "mediaType": MANIFEST, "config": config_layer}
        self.disk.write(name, json.dumps({**head, "layers": layers}).encode())
        yield "success"

    def copy(self) -> None:
        document = self.document()
        for key in ("source", "destination"):
            if parse(document.get(key, "")) is None:
                raise RefusalError(400, f'{key} "{document.get(key, "")}" is invalid')
        source, target = self.disk.find(document["source"]), parse(document["destination"])
        if source is None:
            raise RefusalError(404, f'model "{document["source"]}" not found')
        assert target
        self.disk.write(target, source.data)
        self.send_bytes(200, b"")

    def delete(self) -> None:
        document = self.document()
        name = document.get("model") or document.get("name") or ""
        if parse(name) is None:
            raise RefusalError(400, f'name "{name}" is invalid')
        kept = self.kept(name)
        self.scheduler.unload(kept)
        self.disk.remove(kept)
        self.send_bytes(200, b"")

    def has_blob(self, digest: str) -> None:
        found = self.disk.blob(digest).exists()
        self.send(200 if found else 404, {} if found else {"error": f'blob "{digest}" not found'})

    def take_blob(self, digest: str) -> None:
        """As upstream does it: what came is kept by its own digest, whatever was promised."""
        path = self.disk.blob(digest)
        data = self.body()
        if path.exists():
            self.send_bytes(200, b"")
            return
        found = f"sha256:{hashlib.sha256(data).hexdigest()}"
        self.disk.blob(found).write_bytes(data)
        if found != digest:
            raise RefusalError(400, f'digest mismatch, expected "{digest}", got "{found}"')
        self.send_bytes(201, b"")


class _CutError(Exception):
    pass


class _EndedError(Exception):
    pass


def _facts(path: Path | None) -> dict[str, Any]:
    from provision.artifacts.gguf import read_header
    from provision.errors import InvalidInputError

    if path is None or not path.exists():
        return {}
    with path.open("rb") as file:
        try:
            keys = read_header(file, path.stat().st_size).keys
        except InvalidInputError:
            return {}
    return {name: value if isinstance(value, (str, int, float, bool)) else None for name, value in keys.items()}


def _described(path: Path) -> dict[str, Any]:
    family = str(_facts(path).get("general.architecture") or "")
    return {"model_family": family, "model_families": [family], "model_type": "", "file_type": "unknown"}
