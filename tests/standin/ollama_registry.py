"""A registry of Ollama models on loopback: manifests, and blobs that are handed out by another host's address.

As the real one it answers a blob with a redirect; Ollama follows no other way. Every request is recorded.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.standin.listener import Handler, listening

MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
CONFIG = "application/vnd.docker.container.image.v1+json"
HOLD_S = 30.0


@dataclass
class OllamaRegistry:
    """``manifests`` by ``namespace/model:tag``, ``blobs`` by digest.

    ``refuse``: status and body for every manifest. ``flip``: digests whose bytes come out wrong. ``cut_after``: the
    bytes after which a blob's body ends, ``cuts`` times. ``hold_after``: those after which it waits for ``released``.
    ``login``: a token is wanted, and given, or not.
    """

    port: int = 0
    manifests: dict[str, bytes] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict)
    seen: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    refuse: tuple[int, str] | None = None
    flip: set[str] = field(default_factory=set)
    cut_after: int | None = None
    cuts: int = 0
    login: str | None = None
    token_good: bool = True
    hold_after: int | None = None
    released: threading.Event = field(default_factory=threading.Event)

    def name(self, model: str) -> str:
        return f"127.0.0.1:{self.port}/library/{model}"

    def add(self, model: str, *layers: tuple[str, bytes], config: dict[str, Any] | None = None) -> bytes:
        """Offer a model of ``(media type, bytes)``; return its manifest, spaced as no encoder of ours would."""
        entries = [self._entry(media_type, data) for media_type, data in layers]
        said = config or {"model_format": "gguf", "model_family": "llama", "model_families": ["llama"]}
        document = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": self._entry(CONFIG, json.dumps(said).encode()),
            "layers": entries,
        }
        name, _, tag = model.partition(":")
        data = json.dumps(document, indent=3).encode()
        self.manifests[f"library/{name}:{tag or 'latest'}"] = data
        return data

    def _entry(self, media_type: str, data: bytes) -> dict[str, Any]:
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        self.blobs[digest] = data
        return {"mediaType": media_type, "digest": digest, "size": len(data)}


class _Handler(Handler):
    protocol_version = "HTTP/1.0"
    registry: OllamaRegistry

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        registry = self.registry
        registry.seen.append((self.command, self.path, self.lower_headers()))
        if self.path == "/token":
            self._answer(200 if registry.login else 403, json.dumps({"token": registry.login}).encode())
        elif registry.login and self.path.startswith("/v2/") and not self._may():
            realm = f'Bearer realm="http://127.0.0.1:{registry.port}/token",service="registry",scope="repository"'
            self._answer(401, b"", {"WWW-Authenticate": realm})
        elif found := re.fullmatch(r"/v2/([^/]+/[^/]+)/manifests/([^/]+)", self.path):
            self._manifest(f"{found[1]}:{found[2]}")
        elif found := re.fullmatch(r"(?:/v2/[^/]+/[^/]+/blobs|/data)/(sha256:[0-9a-f]{64})", self.path):
            self._blob(found[1])
        else:
            self._answer(404, b"")

    def _may(self) -> bool:
        return self.registry.token_good and self.headers.get("Authorization") == f"Bearer {self.registry.login}"

    def _manifest(self, name: str) -> None:
        if self.registry.refuse:
            self._answer(self.registry.refuse[0], self.registry.refuse[1].encode())
        elif name in self.registry.manifests:
            self._answer(200, self.registry.manifests[name], {"Content-Type": MANIFEST})
        else:
            self._answer(404, b'{"errors":[{"code":"MANIFEST_UNKNOWN"}]}')

    def _blob(self, digest: str) -> None:
        data = self.registry.blobs.get(digest)
        if data is None:
            self._answer(404, b"")
        elif self.command == "HEAD":
            self._answer(200, data)
        elif not self.path.startswith("/data"):
            self._answer(307, b"", {"Location": f"http://localhost:{self.registry.port}/data/{digest}"})
        else:
            self._data(bytes([data[0] ^ 1]) + data[1:] if digest in self.registry.flip else data)

    def _data(self, data: bytes) -> None:
        found = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        start, end = (int(found[1]), int(found[2]) + 1) if found else (0, len(data))
        whole = data[start:end]
        self.send_response(206 if found else 200)
        self.send_header("Content-Length", str(len(whole)))
        self.end_headers()
        cut = self.registry.cut_after if self.registry.cuts else None
        self.registry.cuts -= cut is not None
        held = self.registry.hold_after
        if held is not None and cut is None:
            self.wfile.write(whole[:held])
            self.registry.released.wait(HOLD_S)
            whole = whole[held:]
        self.wfile.write(whole[:cut])

    def _answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.answer_whole(status, body, headers or {})


@contextmanager
def serving_registry() -> Iterator[OllamaRegistry]:
    """Serve until the end of the block."""
    registry = OllamaRegistry()
    with listening(type("Site", (_Handler,), {"registry": registry})) as listener:
        registry.port = listener.port
        yield registry
