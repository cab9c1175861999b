"""Ollama's HTTP API, as far as fabric needs it: what is there, fetching, importing, loading, removing.

What a server sends is checked; what it says went wrong becomes an error of the contract. An answer of a good
status may still hold an error in one of its lines: only ``success`` is success.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from provision.domain.ollama_name import names_match, parse_name, sha256_of
from provision.domain.web_address import is_loopback
from provision.engines.ollama_answers import (
    ListedModel,
    RunningModel,
    ShownModel,
    StreamLine,
    read_models,
    read_running,
    read_shown,
    read_version,
)
from provision.engines.ollama_errors import explain_response
from provision.engines.ollama_progress import CutError, Following, Patience, Progress, tell_nobody
from provision.host.endpoint import EndpointClient, Response
from provision.host.files import explained

__all__ = ["ListedModel", "OllamaApi", "Patience", "RunningModel", "ShownModel", "StreamLine", "names_match"]

LOAD_TIMEOUT_S = 600.0
ANSWER_TIMEOUT_S = 30.0


class OllamaApi:
    """One server.

    Every method raises ``UnreachableError`` where it does not answer, and the ``FabricError`` that fits what it says.
    """

    def __init__(self, client: EndpointClient, patience: Patience | None = None) -> None:
        self._client = client
        self._patience = patience or Patience()

    def version(self) -> str:
        """Return the server's version. Raises ``BadAnswerError`` where something else answers."""
        return read_version(self._get("/api/version", "asking for its version"))

    def models(self) -> tuple[ListedModel, ...]:
        """Return the models that are on the server's disk."""
        return read_models(self._get("/api/tags", "listing its models"))

    def running(self) -> tuple[RunningModel, ...]:
        """Return the models that are in memory."""
        return read_running(self._get("/api/ps", "listing what it runs"))

    def show(self, name: str) -> ShownModel:
        """Return what a model is made of. Raises ``UsageError`` where there is no such model."""
        answer = self._client.request("POST", "/api/show", _json({"model": parse_name(name).short}))
        return read_shown(_good(answer, f"describing {name}"))

    def pull(self, name: str, progress: Progress = tell_nobody, stop: threading.Event | None = None) -> None:
        """Have the server fetch a model from its registry, without encryption only from this machine.

        A connection that breaks is taken up once. Raises ``UsageError`` where the registry has no such model,
        ``RefusedError`` for a login or a wrong hash, ``CannotCreateError`` for a full disk, ``InvalidInputError``
        where the model needs a newer Ollama, ``UnreachableError`` for a stall, ``InterruptedByUserError`` for ``stop``.
        """
        whole = parse_name(name)
        insecure = is_loopback(whole.host.partition(":")[0])
        document = {"model": whole.short, "insecure": insecure, "stream": True}
        following = self._following(f"pulling {name}", progress, stop)
        try:
            following.run("/api/pull", document)
        except CutError:
            following.run("/api/pull", document)

    def has_blob(self, sha256: str) -> bool:
        """Tell whether the server has a file of this digest. Whether it is whole, only a new hash can tell."""
        answer = self._client.request("HEAD", _blob(sha256), timeout_s=ANSWER_TIMEOUT_S)
        if answer.status == 404:
            return False
        _good(answer, "asking for a blob")
        return True

    def push_blob(self, path: Path, sha256: str, progress: Callable[[int], None] = tell_nobody) -> None:
        """Send a file, unless the server has it; ``progress`` is told the bytes of each step.

        Raises ``RefusedError`` where the file is not the one that ``sha256`` names, ``CannotCreateError`` where the
        server's disk is full.
        """
        if self.has_blob(sha256):
            return
        with explained(f"reading {path}"), path.open("rb") as file:
            size = path.stat().st_size
            answer = self._client.upload(_blob(sha256), file, size, progress, self._patience.work_s)
        _good(answer, f"sending {path.name}")

    def create(
        self,
        name: str,
        files: Mapping[str, str],
        *,
        parameters: Mapping[str, Any] | None = None,
        template: str | None = None,
        progress: Progress = tell_nobody,
        stop: threading.Event | None = None,
    ) -> None:
        """Make a model of files that the server has: ``files`` maps a file name to its SHA-256.

        Since version 0.30 the server writes the GGUF anew, with other bytes; see ``ollama_store`` for keeping one copy.
        """
        document: dict[str, Any] = {
            "model": parse_name(name).short,
            "files": {file: f"sha256:{sha256_of(sha256)}" for file, sha256 in files.items()},
            "stream": True,
        }
        document |= {"parameters": dict(parameters)} if parameters else {}
        document |= {"template": template} if template is not None else {}
        self._following(f"creating {name}", progress, stop).run("/api/create", document)

    def copy(self, source: str, destination: str) -> None:
        """Give a model a second name. Raises ``UsageError`` where there is no such model."""
        document = {"source": parse_name(source).short, "destination": parse_name(destination).short}
        _good(self._client.request("POST", "/api/copy", _json(document)), f"copying {source}")

    def delete(self, name: str) -> None:
        """Remove a model and the blobs that no other one uses. Raises ``UsageError`` where there is no such model."""
        document = _json({"model": parse_name(name).short})
        _good(self._client.request("DELETE", "/api/delete", document), f"deleting {name}")

    def load(self, name: str, keep_alive: str | int | None = None, context: int | None = None) -> None:
        """Bring a model into memory, for as long as ``keep_alive`` says (seconds, ``5m``; -1 for ever)."""
        document: dict[str, Any] = {"model": parse_name(name).short, "stream": False}
        document |= {"keep_alive": keep_alive} if keep_alive is not None else {}
        document |= {"options": {"num_ctx": context}} if context is not None else {}
        _good(
            self._client.request("POST", "/api/generate", _json(document), timeout_s=LOAD_TIMEOUT_S), f"loading {name}"
        )

    def unload(self, name: str) -> None:
        """Take a model out of memory; one that is not there is fine."""
        document = {"model": parse_name(name).short, "keep_alive": 0, "stream": False}
        _good(
            self._client.request("POST", "/api/generate", _json(document), timeout_s=LOAD_TIMEOUT_S),
            f"unloading {name}",
        )

    def _get(self, path: str, doing: str) -> bytes:
        return _good(self._client.get(path), doing)

    def _following(self, doing: str, progress: Progress, stop: threading.Event | None) -> Following:
        return Following(self._client, doing, self._patience, progress, stop or threading.Event())


def _json(document: Any) -> bytes:
    import json

    return json.dumps(document).encode()


def _blob(sha256: str) -> str:
    return f"/api/blobs/sha256:{sha256_of(sha256)}"


def _good(response: Response, doing: str) -> bytes:
    if response.status in (200, 201):
        return response.body
    raise explain_response(response, doing)
