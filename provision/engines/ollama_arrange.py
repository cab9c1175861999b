"""Giving Ollama a model of our store: links in its own directory, and a manifest under the name that clients use."""

from __future__ import annotations

from dataclasses import field
from pathlib import Path

from provision.domain.frozen import frozen
from provision.domain.model import Model
from provision.engines.ollama_manifest import LocalModel, compose, without_context
from provision.engines.ollama_store import (
    blob_path,
    is_blob_of,
    list_models,
    manifest_path,
    put_blob,
    remove_model,
    write_manifest,
)
from provision.host.files import commit, explained, make_private_dir, remove_tree
from provision.host.hashed import hash_file, note, noted_hash
from provision.host.reading import read_bytes

MANIFEST = "manifest.json"  # among the files of a model that came from Ollama's registry


@frozen
class _Wanted:
    """All that Ollama shall have: a manifest, files that become blobs, and small blobs of our own, by SHA-256."""

    manifest: bytes
    files: dict[str, Path]
    small: dict[str, bytes] = field(default_factory=dict)


def arrange(models: Path, model: Model, place: Path) -> None:
    """Make ``model``, whose file is ``place``, the only one that a server on ``models`` has; no server runs on it.

    What is right already stays. Raises ``CannotCreateError`` where there is no room for a copy, on another file
    system than the file's.
    """
    if not why_not_arranged(models, model, place) and len(list_models(models)) == 1:
        return
    with explained("arranging Ollama's models"):
        make_private_dir(models)
        for kept in list_models(models):
            remove_model(models, kept.name)
        for directory in ("blobs", "manifests"):
            remove_tree(models / directory)
    wanted = _wanted(model, place, _known_hash(models, model, place) or _hash(models, place))
    for sha256, path in wanted.files.items():
        put_blob(models, path, sha256)
    for sha256, content in wanted.small.items():
        with explained(f"adding {model.name} to Ollama's models"):
            commit(blob_path(models, sha256), content)
    write_manifest(models, model.name, wanted.manifest)


def why_not_arranged(models: Path, model: Model, place: Path) -> str:
    """Return what ``arrange`` would repair; empty where nothing. Nothing large is read."""
    sha256 = _known_hash(models, model, place)
    if sha256 is None:
        return f"{place.name} was changed"
    wanted = _wanted(model, place, sha256)
    if read_bytes(manifest_path(models, model.name)) != wanted.manifest:
        return f"Ollama's manifest of {model.name} is missing or differs"
    for digest, path in wanted.files.items():
        if not is_blob_of(models, path, digest):
            return f"Ollama's blob {digest[:12]} is missing or differs"
    for digest, content in wanted.small.items():
        if read_bytes(blob_path(models, digest)) != content:
            return f"Ollama's blob {digest[:12]} is missing or differs"
    return ""


def _wanted(model: Model, place: Path, sha256: str) -> _Wanted:
    if any(file.path == MANIFEST for file in model.files):
        return _from_registry(model, place)
    size_bytes = place.stat().st_size if place.is_file() else 0
    described = LocalModel(sha256, size_bytes, model.shape.architecture, model.quantization or "")
    manifest, small = compose(described)
    return _Wanted(manifest, {sha256: place}, small)


def _from_registry(model: Model, place: Path) -> _Wanted:
    """What the registry gave, but for the context that it would impose: the one that was asked for counts."""
    root = place.parents[model.files[0].path.count("/")]
    files = {file.sha256: root / file.path for file in model.files if file.sha256 and file.path != MANIFEST}
    told = read_bytes(root / MANIFEST) or b""
    manifest, small = without_context(told, lambda sha256: read_bytes(files[sha256]) or b"")
    return _Wanted(manifest, files, small)


def _known_hash(models: Path, model: Model, place: Path) -> str | None:
    """Return the hash of the file, where it is known and the file is still what was hashed; else ``None``."""
    if model.sha256 or model.files:
        return model.sha256 or next(file.sha256 for file in model.files)
    return noted_hash(models.parent, place)


def _hash(models: Path, path: Path) -> str:
    """Hash a file of the user's, which nobody has hashed before, and note that."""
    with explained(f"reading {path}"):
        hashed = hash_file(path)
    with explained("noting a hash"):
        note(models.parent, hashed)
    return hashed.sha256
