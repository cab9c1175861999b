"""Ollama's HTTP API, as far as fabric asks an Ollama of somebody else's for something: fetching and importing a model.

What a server sends is checked; what it says went wrong becomes an error of the contract. An answer of a good
status may still hold an error in one of its lines: only ``success`` is success.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from provision.domain.ollama_name import parse_name, sha256_of
from provision.domain.web_address import is_loopback
from provision.engines.ollama_errors import explain_response
from provision.engines.ollama_progress import CutError, Following, Progress, StallLimits, tell_nobody
from provision.host.endpoint import EndpointClient
from provision.host.files import explained

ANSWER_TIMEOUT_S = 30.0
_GOOD = (200, 201)


class OllamaApi:
    """One server.

    Every method raises ``UnreachableError`` where it does not answer, and the ``FabricError`` that fits what it says.
    """

    def __init__(self, client: EndpointClient, limits: StallLimits | None = None) -> None:
        self._client = client
        self._limits = limits or StallLimits()

    def pull(self, name: str, progress: Progress = tell_nobody) -> None:
        """Have the server fetch a model from its registry, without encryption only from this machine.

        A connection that breaks is taken up once. Raises ``UsageError`` where the registry has no such model,
        ``RefusedError`` for a login or a wrong hash, ``CannotCreateError`` for a full disk, ``InvalidInputError``
        where the model needs a newer Ollama, ``UnreachableError`` for a stall.
        """
        whole = parse_name(name)
        insecure = is_loopback(whole.host.partition(":")[0])
        document = {"model": whole.short, "insecure": insecure, "stream": True}
        following = self._following(f"pulling {name}", progress)
        try:
            following.run("/api/pull", document)
        except CutError:
            following.run("/api/pull", document)

    def has_blob(self, sha256: str) -> bool:
        """Tell whether the server has a file of this digest. Whether it is whole, only a new hash can tell."""
        answer = self._client.request("HEAD", _blob(sha256), timeout_s=ANSWER_TIMEOUT_S)
        if answer.status not in (*_GOOD, 404):
            raise explain_response(answer, "asking for a blob")
        return answer.status != 404

    def push_blob(self, path: Path, sha256: str, progress: Callable[[int], None] = tell_nobody) -> None:
        """Send a file; ``progress`` is told the bytes of each step.

        Raises ``RefusedError`` where the file is not the one that ``sha256`` names, ``CannotCreateError`` where the
        server's disk is full.
        """
        with explained(f"reading {path}"), path.open("rb") as file:
            size = path.stat().st_size
            answer = self._client.upload(_blob(sha256), file, size, progress, self._limits.work_s)
        if answer.status not in _GOOD:
            raise explain_response(answer, f"sending {path.name}")

    def create(self, name: str, sha256: str, progress: Progress = tell_nobody) -> None:
        """Make a model of a GGUF file that the server has. Raises ``InvalidInputError`` for a file that is none.

        Since version 0.30 the server writes the GGUF anew, with other bytes; see ``ollama_store`` for keeping one copy.
        """
        files = {"model.gguf": f"sha256:{sha256_of(sha256)}"}
        document: dict[str, Any] = {"model": parse_name(name).short, "files": files, "stream": True}
        self._following(f"creating {name}", progress).run("/api/create", document)

    def _following(self, doing: str, progress: Progress) -> Following:
        return Following(self._client, doing, self._limits, progress)


def _blob(sha256: str) -> str:
    return f"/api/blobs/sha256:{sha256_of(sha256)}"
