"""The stand-in's own idea of OLLAMA_MODELS, written after upstream's rules and without the product's code."""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,79}", re.ASCII)
HOST = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:-]{0,349}", re.ASCII)
DIGEST = re.compile(r"sha256[:-][0-9a-fA-F]{64}", re.ASCII)
PRUNE_AFTER_S = 3600
MODEL, CONFIG = "application/vnd.ollama.image.model", "application/vnd.docker.container.image.v1+json"
PARAMS, TEMPLATE = "application/vnd.ollama.image.params", "application/vnd.ollama.image.template"
MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"


class Name(NamedTuple):
    host: str
    namespace: str
    model: str
    tag: str

    @property
    def short(self) -> str:
        end = f"{self.model}:{self.tag}"
        if self.host.lower() != "registry.ollama.ai":
            return f"{self.host}/{self.namespace}/{end}"
        return end if self.namespace.lower() == "library" else f"{self.namespace}/{end}"


class RefusalError(Exception):
    """An answer other than a good one: its status and what it says."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status, self.text = status, text


def parse(text: str) -> Name | None:
    rest, tag = re.sub("^https?://", "", text), "latest"  # no other scheme, and not an empty one
    if rest.rfind(":") > rest.rfind("/"):
        rest, _, tag = rest.rpartition(":")
    parts = rest.split("/")
    whole = ["registry.ollama.ai", "library"][: max(0, 3 - len(parts))] + parts
    if len(whole) != 3 or not HOST.fullmatch(whole[0]) or "." in whole[1]:
        return None
    if not all(PART.fullmatch(part) for part in (*whole[1:], tag)):
        return None
    return Name(whole[0], whole[1], whole[2], tag)


class Kept(NamedTuple):
    name: Name
    path: Path
    data: bytes
    document: dict[str, Any]

    @property
    def layers(self) -> list[dict[str, Any]]:
        config = self.document.get("config") or {}
        return [*self.document["layers"], *([config] if config.get("digest") else [])]

    @property
    def size(self) -> int:
        return sum(layer["size"] for layer in self.layers)


class Disk:
    def __init__(self, root: Path) -> None:
        self.root = root
        self.blobs.mkdir(mode=0o755, parents=True, exist_ok=True)
        self.manifests.mkdir(mode=0o755, parents=True, exist_ok=True)

    @property
    def blobs(self) -> Path:
        return self.root / "blobs"

    @property
    def manifests(self) -> Path:
        return self.root / "manifests"

    def blob(self, digest: str) -> Path:
        if not DIGEST.fullmatch(digest):
            raise RefusalError(400, "invalid digest format")
        return self.blobs / digest.replace(":", "-")

    def all(self) -> Iterator[Kept]:
        for path in sorted(self.manifests.glob("*/*/*/*")):
            host, namespace, model, tag = path.relative_to(self.manifests).parts
            name = Name(host, namespace, model, tag)
            if path.is_file() and parse(f"{host}/{namespace}/{model}:{tag}") == name:
                kept = self._read(name, path)
                if kept:
                    yield kept

    def corrupt(self) -> bool:
        """Upstream skips pruning while one manifest cannot be read."""
        return len(list(self.all())) != sum(path.is_file() for path in self.manifests.glob("*/*/*/*"))

    def find(self, text: str) -> Kept | None:
        name = parse(text)
        if name is None:
            return None
        wanted = tuple(part.lower() for part in name)
        return next((kept for kept in self.all() if tuple(part.lower() for part in kept.name) == wanted), None)

    def path(self, name: Name) -> Path:
        return self.manifests.joinpath(*name)

    def layer(self, kept: Kept, media_type: str) -> Path | None:
        found = [layer for layer in kept.layers if layer["mediaType"] == media_type]
        return self.blob(found[0]["digest"]) if found else None

    def details(self, kept: Kept) -> dict[str, Any]:
        config = self.json(kept, CONFIG)
        return {
            "parent_model": "",
            "format": config.get("model_format", ""),
            "family": config.get("model_family", ""),
            "families": config.get("model_families"),
            "parameter_size": config.get("model_type", ""),
            "quantization_level": config.get("file_type", ""),
        }

    def json(self, kept: Kept, media_type: str) -> dict[str, Any]:
        path = self.layer(kept, media_type)
        return dict(json.loads(path.read_bytes())) if path and path.exists() else {}

    def add(self, data: bytes, media_type: str) -> dict[str, Any]:
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        if not self.blob(digest).exists():
            self.blob(digest).write_bytes(data)
        os.utime(self.blob(digest))
        return {"mediaType": media_type, "digest": digest, "size": len(data)}

    def write(self, name: Name, data: bytes) -> None:
        path = self.path(name)
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        path.write_bytes(data)

    def remove(self, kept: Kept) -> None:
        kept.path.unlink()
        self._prune_directories()
        self.remove_unused(kept)

    def remove_unused(self, kept: Kept) -> None:
        used = {layer["digest"] for other in self.all() for layer in other.layers}
        for layer in kept.layers:
            if layer["digest"] not in used:
                self.blob(layer["digest"]).unlink(missing_ok=True)

    def prune(self) -> None:
        """What upstream does at every start: blobs that no manifest names go, once they are an hour old."""
        if self.corrupt():
            return
        used = {layer["digest"].replace(":", "-") for kept in self.all() for layer in kept.layers}
        for path in self.blobs.iterdir():
            old = time.time() - path.lstat().st_mtime >= PRUNE_AFTER_S
            if path.is_file() and old and path.name not in used:
                path.unlink()
        self._prune_directories()

    def _prune_directories(self) -> None:
        for directory, _, _ in os.walk(self.manifests, topdown=False):
            if not any(os.scandir(directory)):
                Path(directory).rmdir()
        self.manifests.mkdir(exist_ok=True)

    @staticmethod
    def _read(name: Name, path: Path) -> Kept | None:
        try:
            data = path.read_bytes()
            document = json.loads(data)
            return Kept(name, path, data, document) if isinstance(document["layers"], list) else None
        except (OSError, ValueError, KeyError, TypeError):
            return None
