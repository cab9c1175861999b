"""The directory in which Ollama keeps its models (OLLAMA_MODELS), read and written without Ollama.

Layout: ``blobs/sha256-<digits>``, and ``manifests/<host>/<namespace>/<model>/<tag>``, each a manifest as the registry
sent it. A file of our store becomes a blob by a hard link, so that there is one copy on the disk.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

from provision.domain.frozen import frozen
from provision.domain.ollama_name import OllamaName, name_of_path, parse_name, sha256_of
from provision.engines.ollama_manifest import Layer, Manifest, parse_manifest
from provision.errors import FabricError, InvalidInputError, RefusedError, UsageError
from provision.host.files import commit, explained, link_or_copy, make_private_dir
from provision.host.reading import read_bytes


@frozen
class KeptModel:
    """A model in the directory; ``sha256`` is that of its manifest."""

    name: str
    sha256: str
    manifest: Manifest


def blob_path(models: Path, sha256: str) -> Path:
    """Return where a blob lies. Raises ``InvalidInputError`` for what is no digest."""
    return models / "blobs" / f"sha256-{sha256_of(sha256)}"


def manifest_path(models: Path, name: str) -> Path:
    """Return where a model's manifest lies. Raises ``UsageError`` for what is no name."""
    return models / "manifests" / parse_name(name).path


def put_blob(models: Path, source: Path, sha256: str) -> bool:
    """Make ``source``, which the caller has hashed, the blob ``sha256``: a hard link, or a copy on another disk.

    Return whether it is a link. A blob of the same size that is there already stays.
    """
    target = blob_path(models, sha256)
    with explained(f"adding {source.name} to Ollama's models"):
        make_private_dir(target.parent)
        if _same_size(source, target):
            return target.samefile(source)
        return link_or_copy(source, target)


def is_blob_of(models: Path, source: Path, sha256: str) -> bool:
    """Tell whether the blob is what ``put_blob`` made of ``source``: a link, or a copy of its size and time."""
    try:
        blob, status = blob_path(models, sha256).stat(), source.stat()
    except OSError:
        return False
    is_link = (blob.st_dev, blob.st_ino) == (status.st_dev, status.st_ino)
    return is_link or (blob.st_size, blob.st_mtime_ns) == (status.st_size, status.st_mtime_ns)


def write_manifest(models: Path, name: str, data: bytes) -> KeptModel:
    """Make ``data``, byte for byte, the manifest of ``name``: from now on Ollama has this model.

    Raises ``InvalidInputError`` for what is no manifest, and ``RefusedError`` while a blob of it is missing.
    """
    manifest = parse_manifest(data)
    lacking = [trouble for blob in manifest.blobs if (trouble := _size_trouble(models, blob))]
    if lacking:
        raise RefusedError(f"{name} is not complete: {'; '.join(lacking)}.", "Fetch the missing files first.")
    path = manifest_path(models, name)
    with explained(f"adding {name} to Ollama's models"):
        make_private_dir(path.parent)
        commit(path, data)
    return KeptModel(parse_name(name).short, hashlib.sha256(data).hexdigest(), manifest)


def list_models(models: Path) -> tuple[KeptModel, ...]:
    """Return the models whose manifests can be read, by name."""
    found = (_read(path, name) for path, name in _manifests(models))
    return tuple(sorted((model for model in found if model), key=lambda model: model.name))


def remove_model(models: Path, name: str) -> None:
    """Remove a model and the blobs that no other one names. Raises ``UsageError`` where there is none.

    A blob that is also in our store stays there. While some manifest cannot be read, all blobs stay.
    """
    path = manifest_path(models, name)
    data = read_bytes(path)
    if data is None:
        raise UsageError(f"There is no model {name} in {models}.", "See `fabric models list`.")
    with explained(f"removing {name} from Ollama's models"):
        path.unlink()
        _remove_empty(path.parent, models / "manifests")
        for sha256 in _blobs_of(data) - _used(models):
            blob_path(models, sha256).unlink(missing_ok=True)


def _same_size(source: Path, target: Path) -> bool:
    return target.is_file() and target.stat().st_size == source.stat().st_size


def _size_trouble(models: Path, blob: Layer) -> str:
    path = blob_path(models, blob.sha256)
    if not path.is_file():
        return f"blob {blob.sha256} is missing"
    size_bytes = path.stat().st_size
    return "" if size_bytes == blob.size_bytes else f"blob {blob.sha256} has {size_bytes} bytes, not {blob.size_bytes}"


def _manifests(models: Path) -> Iterator[tuple[Path, OllamaName]]:
    root = models / "manifests"
    for path in root.glob("*/*/*/*"):
        try:
            name = name_of_path(path.relative_to(root).as_posix())
        except UsageError:
            continue
        if path.is_file():
            yield path, name


def _read(path: Path, name: OllamaName) -> KeptModel | None:
    try:
        data = path.read_bytes()
        return KeptModel(name.short, hashlib.sha256(data).hexdigest(), parse_manifest(data))
    except (OSError, InvalidInputError):
        return None


def _blobs_of(data: bytes) -> set[str]:
    try:
        return {blob.sha256 for blob in parse_manifest(data).blobs}
    except FabricError:
        return set()


def _used(models: Path) -> set[str]:
    """The blobs that some manifest names; every blob there is where one of the manifests cannot be read."""
    kept = [_read(path, name) for path, name in _manifests(models)]
    if None in kept:
        return {path.name.partition("-")[2] for path in (models / "blobs").glob("sha256-*")}
    return {blob.sha256 for model in kept if model for blob in model.manifest.blobs}


def _remove_empty(directory: Path, root: Path) -> None:
    while directory != root and not any(directory.iterdir()):
        directory.rmdir()
        directory = directory.parent
