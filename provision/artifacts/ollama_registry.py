"""A reference to an Ollama registry, turned into files: its manifest, and blobs that are named by their SHA-256.

``GET /v2/NAMESPACE/NAME/manifests/TAG`` answers with a Docker manifest. The layer of type ``image.model`` is a plain
GGUF file. Everything in a manifest is checked before it is used: a digest becomes part of a path.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import field
from typing import Any
from urllib.parse import quote, urlsplit

from provision.artifacts.mirrors import Mirrors
from provision.artifacts.web_json import not_as_documented, parse_json, size_in, unexpected
from provision.domain.artifacts import HashSource, PinnedFile
from provision.domain.frozen import frozen
from provision.domain.reference import OllamaReference
from provision.domain.safe_name import shown
from provision.domain.web_address import is_loopback
from provision.errors import InvalidInputError, RefusedError, UnreachableError
from provision.host.address import origin, redact
from provision.host.site import Answer, get, get_range
from provision.host.transport import Transport

OWN_HOST = "registry.ollama.ai"
MANIFEST = "manifest.json"  # its name among the files of a model
MANIFEST_TYPES = (
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.oci.image.manifest.v1+json",
)
CONFIG_TYPES = ("application/vnd.docker.container.image.v1+json", "application/vnd.oci.image.config.v1+json")
LAYER_PREFIX = "application/vnd.ollama.image."
MAX_MANIFEST_BYTES = 1 << 20
MAX_CONFIG_BYTES = 1 << 20
MAX_LAYERS = 4096
_DIGEST = re.compile(r"sha256:([0-9a-f]{64})")
_KIND = re.compile(r"[a-z][a-z0-9_-]{0,31}")
_CHALLENGE = re.compile(r'(\w+)="([^"]*)"')
_TOKEN = re.compile(r"[\x21-\x7e]{1,16384}")


@frozen
class OllamaLayer:
    """``kind`` is the last part of its media type: ``model``, ``template``, ``params``, ``license``, ``projector``."""

    kind: str
    file: PinnedFile


@frozen
class OllamaManifest:
    """A model of a registry. ``digest`` is the hexadecimal SHA-256 of the manifest's bytes, ``body`` the bytes.

    ``place`` is the address below which its manifests and blobs are.
    ``token`` is what the registry gave out for reading the blobs, where it wants one; it is short-lived.
    """

    reference: OllamaReference
    digest: str
    body: bytes = field(repr=False)
    config: PinnedFile
    layers: tuple[OllamaLayer, ...]
    place: str
    token: str | None = field(default=None, repr=False, compare=False)

    @property
    def model(self) -> PinnedFile:
        """The GGUF file."""
        return next(layer.file for layer in self.layers if layer.kind == "model")

    @property
    def files(self) -> tuple[PinnedFile, ...]:
        """The config and every layer, each once."""
        return tuple({file.path: file for file in (self.config, *(layer.file for layer in self.layers))}.values())

    @property
    def whole(self) -> tuple[PinnedFile, ...]:
        """All that Ollama wants: the GGUF file, the manifest itself, the config and the other layers."""
        names = (
            f"manifests/{self.reference.tag}",
            *(f"{kind}/sha256:{self.digest}" for kind in ("manifests", "blobs")),
        )
        urls = tuple(f"{self.place}/{name}" for name in names)  # by its tag, and where that has moved by its digest
        own = PinnedFile(MANIFEST, urls, len(self.body), self.digest, HashSource.API)
        return self.model, own, *(file for file in self.files if file != self.model)

    def layer(self, kind: str) -> PinnedFile | None:
        """Return the first layer of a kind, such as ``template``; ``None`` where there is none."""
        return next((layer.file for layer in self.layers if layer.kind == kind), None)


def resolve(
    reference: OllamaReference, mirrors: Mirrors, transport: Transport, _env: Mapping[str, str]
) -> OllamaManifest:
    """Return what the tag stands for now.

    Raises ``InvalidInputError`` for a model or tag that is not there and for one that is not a single GGUF file,
    ``UnreachableError`` for a registry that does not answer or wants a login, ``RefusedError`` for a hostile answer.
    """
    place = f"{registry_of(reference, mirrors)}/v2/{quote(reference.namespace)}/{quote(reference.name)}"
    url = f"{place}/manifests/{quote(reference.tag)}"
    accept = {"Accept": ", ".join(MANIFEST_TYPES)}
    answer, token = get(url, transport, accept, MAX_MANIFEST_BYTES), None
    if answer.status == 401:
        token = _token(answer, url, transport)
        answer = get(url, transport, {**accept, "Authorization": f"Bearer {token}"}, MAX_MANIFEST_BYTES)
    if answer.status == 404:
        raise InvalidInputError(
            f"The registry has no {reference.name} with the tag {reference.tag}.",
            f"Its tags: https://ollama.com/{reference.namespace}/{reference.name}/tags"
            if reference.host in (None, OWN_HOST)
            else "Check the name and the tag.",
        )
    if answer.status in (401, 403):
        raise UnreachableError(
            f"{redact(url)} wants a login.", "Only models that anybody may fetch can be taken from a registry."
        )
    if answer.status != 200:
        raise unexpected(answer)
    return parse_manifest(answer, reference, place, token)


def open_to_anybody(url: str, transport: Transport) -> dict[str, str]:
    """Return the header that a registry wants for a file of a model, from where it sends anybody for it.

    Empty where it wants none. Raises what ``resolve`` raises.
    """
    answer = get_range(url, transport, {}, 0, 1)
    return {"Authorization": f"Bearer {_token(answer, url, transport)}"} if answer.status == 401 else {}


def registry_of(reference: OllamaReference, mirrors: Mirrors) -> str:
    """Return the base address of the registry; http for one on this machine that is named by the user."""
    if reference.host in (None, OWN_HOST):
        return mirrors.ollama_registry
    host = urlsplit(f"//{reference.host}").hostname or ""
    return f"{'http' if is_loopback(host) else 'https'}://{reference.host}"


def parse_manifest(answer: Answer, reference: OllamaReference, place: str, token: str | None = None) -> OllamaManifest:
    """Return the manifest in an answer; its blobs are under ``place``. Raises what ``resolve`` raises."""
    document = parse_json(answer)
    if not isinstance(document, dict) or document.get("schemaVersion") != 2:
        raise not_as_documented(answer, "it is not a manifest")
    if document.get("mediaType", MANIFEST_TYPES[0]) not in MANIFEST_TYPES:
        raise not_as_documented(answer, f"a manifest of the type {shown(str(document['mediaType']))}")
    rows = document.get("layers")
    if not isinstance(rows, list) or len(rows) > MAX_LAYERS:
        raise not_as_documented(answer, "a manifest without layers")
    config = document.get("config")
    if not isinstance(config, dict) or config.get("mediaType") not in CONFIG_TYPES:
        raise not_as_documented(answer, "a manifest without a configuration")
    layers = tuple(_layer(answer, row, place) for row in rows)
    _check_kinds(reference, [layer.kind for layer in layers])
    return OllamaManifest(
        reference, _digest(answer), answer.body, _blob(answer, config, place, MAX_CONFIG_BYTES), layers, place, token
    )


def _check_kinds(reference: OllamaReference, kinds: list[str]) -> None:
    """Refuse what is not one GGUF file, a projector for images beside it at most."""
    if "adapter" in kinds:
        what = "is an adapter on top of another model"
    elif "tensor" in kinds:
        what = "is made of single tensors, not of a GGUF file"
    elif kinds.count("model") > 1:
        what = f"is made of {kinds.count('model')} GGUF files"
    elif "model" not in kinds:
        what = "has no weights: it runs elsewhere, or is not a model"
    else:
        return
    raise InvalidInputError(
        f"{reference} {what}.", "Choose another tag, or let Ollama itself serve it: --backend ollama."
    )


def _layer(answer: Answer, row: Any, place: str) -> OllamaLayer:
    media_type = row.get("mediaType") if isinstance(row, dict) else None
    if not isinstance(media_type, str) or not media_type.startswith(LAYER_PREFIX):
        raise not_as_documented(answer, f"a layer of the type {shown(str(media_type))}")
    kind = media_type.removeprefix(LAYER_PREFIX)
    if not _KIND.fullmatch(kind):
        raise not_as_documented(answer, f"a layer of the type {shown(media_type)}")
    return OllamaLayer(kind, _blob(answer, row, place))


def _blob(answer: Answer, row: dict[str, Any], place: str, most: int | None = None) -> PinnedFile:
    digest = row.get("digest")
    match = _DIGEST.fullmatch(digest) if isinstance(digest, str) else None
    if match is None:
        raise RefusedError(f"{redact(answer.url)} gives a blob the unsafe name {shown(str(digest))}.", _NOTHING)
    size = size_in(answer, row.get("size"), match[0], most) if most else size_in(answer, row.get("size"), match[0])
    if size is None:
        raise RefusedError(f"{redact(answer.url)} gives {match[0]} no size.", _NOTHING)
    return PinnedFile(f"blobs/sha256-{match[1]}", (f"{place}/blobs/{match[0]}",), size, match[1], HashSource.API)


def _digest(answer: Answer) -> str:
    """Return the SHA-256 of the manifest. Raises ``RefusedError`` where the registry names another one."""
    digest = hashlib.sha256(answer.body).hexdigest()
    for header in ("docker-content-digest", "ollama-content-digest"):
        said = answer.headers.get(header, "").removeprefix("sha256:").lower()
        if said and said != digest:
            raise RefusedError(
                f"{redact(answer.url)}: the manifest has the SHA-256 {digest}, and the registry says {shown(said)}.",
                _NOTHING,
            )
    return digest


def _token(refusal: Answer, url: str, transport: Transport) -> str:
    """Return a token that anybody gets, from where the registry says; only from the registry's own host."""
    scheme, _, rest = refusal.headers.get("www-authenticate", "").partition(" ")
    said = dict(_CHALLENGE.findall(rest))
    realm = said.get("realm", "")
    if scheme.lower() != "bearer" or not realm:
        raise UnreachableError(f"{redact(url)} wants a login.", "Only models that anybody may fetch can be taken.")
    if origin(realm) != origin(url):
        raise RefusedError(
            f"{redact(url)} sends us for a token to another host, {redact(realm)}.", "It is not followed there."
        )
    query = "&".join(f"{name}={quote(said[name], safe='')}" for name in ("service", "scope") if name in said)
    answer = get(f"{realm}{'&' if '?' in realm else '?'}{query}", transport, {}, MAX_CONFIG_BYTES)
    document = parse_json(answer) if answer.status == 200 else None
    token = (document.get("token") or document.get("access_token")) if isinstance(document, dict) else None
    if not isinstance(token, str) or not _TOKEN.fullmatch(token):
        raise UnreachableError(f"{redact(url)} wants a login.", "Only models that anybody may fetch can be taken.")
    return token


_NOTHING = "Nothing was fetched. Check the address of the registry."
