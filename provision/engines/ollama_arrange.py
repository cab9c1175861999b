"""Giving Ollama a model of our store: links in its own directory, and a manifest under the name that clients use."""

from __future__ import annotations

from pathlib import Path

from provision.domain.model import Model
from provision.engines.ollama_manifest import LocalModel
from provision.engines.ollama_store import add_local, list_models, put_blob, remove_model, write_manifest
from provision.host.files import explained, make_private_dir, remove_tree

MANIFEST = "manifest.json"  # among the files of a model that came from Ollama's registry


def arrange(models: Path, model: Model, place: Path) -> None:
    """Make ``model``, whose file or directory is ``place``, the only one that a server on ``models`` has.

    Raises ``CannotCreateError`` where there is no room for a copy, on another file system than the store's.
    """
    with explained("arranging Ollama's models"):
        make_private_dir(models)
        for kept in list_models(models):
            remove_model(models, kept.name)
        remove_tree(models / "blobs")
    manifest = next((file for file in model.files if file.path == MANIFEST), None)
    if manifest is None:
        sha256 = model.sha256 or _hash(place)
        quantization, family = model.quantization or "", model.shape.architecture
        size_bytes = place.stat().st_size
        add_local(models, model.name, place, LocalModel(sha256, size_bytes, family, quantization=quantization))
        return
    root = place.parent
    for file in model.files:
        if file.sha256 and file is not manifest:
            put_blob(models, root / file.path, file.sha256)
    write_manifest(models, model.name, (root / MANIFEST).read_bytes())


def _hash(path: Path) -> str:
    """Hash a file of the user's, which nobody has hashed before."""
    import hashlib

    digest = hashlib.sha256()
    with explained(f"reading {path}"), path.open("rb") as file:
        while data := file.read(1 << 20):
            digest.update(data)
    return digest.hexdigest()
