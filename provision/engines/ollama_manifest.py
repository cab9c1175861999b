"""A model's manifest as Ollama's registry serves it and its disk holds it, and one made for a file of our own."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Any

import msgspec

from provision.domain.frozen import frozen
from provision.domain.ollama_name import sha256_of
from provision.errors import InvalidInputError
from provision.host.json_document import decoded

MANIFEST_TYPE = "application/vnd.docker.distribution.manifest.v2+json"
CONFIG_TYPE = "application/vnd.docker.container.image.v1+json"
MODEL_TYPE = "application/vnd.ollama.image.model"
PARAMETERS_TYPE = "application/vnd.ollama.image.params"
TEMPLATE_TYPE = "application/vnd.ollama.image.template"
CONTEXT_PARAMETER = "num_ctx"
MAX_MANIFEST_BYTES = 1 << 20
MAX_LAYERS = 1 << 12
MAX_LAYER_BYTES = 1 << 44


@frozen
class Layer:
    """One blob of a model."""

    media_type: str
    sha256: str
    size_bytes: int


@frozen
class Manifest:
    """All blobs of a model: ``layers``, and ``config``, which some registries leave out."""

    config: Layer | None
    layers: tuple[Layer, ...]

    @property
    def blobs(self) -> tuple[Layer, ...]:
        """Every blob once, the order kept."""
        every = (*self.layers, *((self.config,) if self.config else ()))
        return tuple({layer.sha256: layer for layer in every}.values())

    @property
    def size_bytes(self) -> int:
        """What has to be fetched, and what it takes on disk."""
        return sum(blob.size_bytes for blob in self.blobs)

    @property
    def model(self) -> Layer | None:
        """The GGUF, where it is one file."""
        found = [layer for layer in self.layers if layer.media_type == MODEL_TYPE]
        return found[0] if len(found) == 1 else None


class _Layer(msgspec.Struct):
    digest: str = ""
    size: int = 0
    media_type: str = msgspec.field(name="mediaType", default="")


class _Manifest(msgspec.Struct):
    layers: list[_Layer]
    version: int = msgspec.field(name="schemaVersion", default=0)
    config: _Layer | None = None


def parse_manifest(data: bytes) -> Manifest:
    """Return what ``data`` says. Raises ``InvalidInputError`` for what is no manifest, or a hostile one."""
    if len(data) > MAX_MANIFEST_BYTES:
        raise InvalidInputError(f"This manifest has {len(data)} bytes: no model's is so large.")
    try:
        document = decoded(data, _Manifest)
    except msgspec.MsgspecError as error:
        raise InvalidInputError(f"This is no manifest of a model: {error}.") from error
    if document.version != 2 or not 0 < len(document.layers) <= MAX_LAYERS:
        raise InvalidInputError("This is no manifest of a model: it has another schema, or no layers.")
    config = _checked(document.config) if document.config and document.config.digest else None
    return Manifest(config, tuple(map(_checked, document.layers)))


def _checked(layer: _Layer) -> Layer:
    if not 0 <= layer.size <= MAX_LAYER_BYTES:
        raise InvalidInputError(f"A layer of this manifest has {layer.size} bytes: no model's has.")
    if not layer.digest.startswith("sha256:"):
        raise InvalidInputError(f"{layer.digest[:100]!r} is no SHA-256 digest.")
    return Layer(layer.media_type, sha256_of(layer.digest), layer.size)


@frozen
class LocalModel:
    """A GGUF file of our own, as Ollama describes one: the texts are those that its API lists."""

    sha256: str
    size_bytes: int
    family: str
    quantization: str = ""


def compose(model: LocalModel) -> tuple[bytes, dict[str, bytes]]:
    """Return the manifest, and the small blobs that it names beside the GGUF, by their SHA-256.

    The same model gives the same bytes everywhere.
    """
    config = {
        "model_format": "gguf",
        "model_family": model.family,
        "model_families": [model.family],
        "file_type": model.quantization,
        "architecture": "amd64",  # what Ollama writes on every machine
        "os": "linux",
    }
    small = _json(config)
    sha256 = hashlib.sha256(small).hexdigest()
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "config": _entry(CONFIG_TYPE, sha256, len(small)),
        "layers": [_entry(MODEL_TYPE, sha256_of(model.sha256), model.size_bytes)],
    }
    return _json(manifest), {sha256: small}


def without_context(data: bytes, read: Callable[[str], bytes]) -> tuple[bytes, dict[str, bytes]]:
    """Return a manifest whose parameters set no context, and the small blobs that it names anew, by their SHA-256.

    What a model's parameters say of the context wins over OLLAMA_CONTEXT_LENGTH. ``read`` returns a blob by its
    SHA-256. A manifest that sets none, or that cannot be read, stays as it is, byte for byte.
    """
    try:
        document = json.loads(data)
        layer = next(each for each in document["layers"] if each["mediaType"] == PARAMETERS_TYPE)
        parameters = json.loads(read(sha256_of(layer["digest"])))
        parameters.pop(CONTEXT_PARAMETER)
    except (ValueError, KeyError, TypeError, AttributeError, StopIteration, RecursionError, InvalidInputError):
        return data, {}
    content = _json(parameters)
    sha256 = hashlib.sha256(content).hexdigest()
    layer |= _entry(PARAMETERS_TYPE, sha256, len(content))
    return _json(document), {sha256: content}


def _entry(media_type: str, sha256: str, size_bytes: int) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": f"sha256:{sha256}", "size": size_bytes}


def _json(document: Any) -> bytes:
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
