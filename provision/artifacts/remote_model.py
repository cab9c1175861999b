"""A model that is not here, described from the headers of its files: a few megabytes of it, read by ranges."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from urllib.parse import quote, urlsplit

from provision.artifacts import hub, ollama_registry
from provision.artifacts.gguf import GgufHeader, read_header
from provision.artifacts.hub_choice import is_weights
from provision.artifacts.mirrors import Mirrors
from provision.artifacts.model_headers import PICKLES, gguf_model, parts_of, pickled, safetensors_model
from provision.artifacts.ranged_file import open_ranged, whole_files_only
from provision.artifacts.safetensors import Weights, add_weights, count_weights
from provision.artifacts.web_json import MAX_SIZE_BYTES, not_as_documented, refuse_page, unexpected
from provision.domain.artifacts import HashSource, PinnedFile
from provision.domain.frozen import frozen
from provision.domain.model import Model
from provision.domain.reference import HubReference, OllamaReference, WebReference
from provision.domain.safe_name import client_name
from provision.errors import InvalidInputError, UnreachableError
from provision.host.address import redact
from provision.host.site import Answer, get_range
from provision.host.transport import Transport

AT_ONCE = 4
_RANGE = re.compile(r"bytes 0-0/([0-9]{1,18})")


def describe_remote(
    reference: HubReference | OllamaReference | WebReference,
    mirrors: Mirrors,
    transport: Transport,
    env: Mapping[str, str],
) -> Model:
    """Return the model with all that is needed to fetch it: ``files`` and, where upstream has one, ``revision``.

    ``size_bytes`` is that of all ``files``. The ``sha256`` of a file is ``None`` where upstream tells none and the
    file is large. Raises ``InvalidInputError`` for what is not there or is not a whole model, ``UnreachableError``
    where a site does not answer or sends whole files only, ``RefusedError`` for what must not be loaded.
    """
    web = _Web(mirrors, transport, env)
    if isinstance(reference, HubReference):
        return web.from_hub(reference)
    return web.from_registry(reference) if isinstance(reference, OllamaReference) else web.from_web(reference)


@frozen
class _Web:
    mirrors: Mirrors
    transport: Transport
    env: Mapping[str, str]

    def from_hub(self, reference: HubReference) -> Model:
        found = hub.resolve(reference, self.mirrors, self.transport, self.env)
        headers = self.mirrors.headers_for(found.files[0].urls[0], self.env)
        if found.format == "gguf":
            files = tuple(self._sized(file, headers) for file in found.files)
            model = self._gguf(files, str(reference), headers)
        else:
            found = hub.pin(found, self.mirrors, self.transport, self.env)
            files = tuple(self._sized(file, headers) for file in found.files)
            model = self._safetensors(replace(found, files=files), headers)
        return replace(model, revision=found.commit, license=found.license or model.license)

    def from_registry(self, reference: OllamaReference) -> Model:
        manifest = ollama_registry.resolve(reference, self.mirrors, self.transport, self.env)
        headers = {"Authorization": f"Bearer {manifest.token}"} if manifest.token else {}
        model = self._gguf((manifest.model,), str(reference), headers)
        name = reference.name if reference.tag == "latest" else f"{reference.name}-{reference.tag}"
        size_bytes = sum(file.size_bytes or 0 for file in manifest.whole)
        return replace(
            model,
            name=client_name(name),
            revision=manifest.digest,
            files=manifest.whole,
            sha256=None,
            size_bytes=size_bytes,
        )

    def from_web(self, reference: WebReference) -> Model:
        if reference.filename.endswith(PICKLES):
            raise pickled(reference.filename)
        told = HashSource.REFERENCE if reference.sha256 else None
        first = self._sized(PinnedFile(reference.filename, (reference.url,), None, reference.sha256, told), {})
        names = parts_of(reference.filename, self._header(first, {}))
        others = (PinnedFile(name, (_sibling(reference.url, name),)) for name in names[1:])
        return self._gguf((first, *(self._sized(other, {}) for other in others)), str(reference), {})

    def _gguf(self, files: tuple[PinnedFile, ...], reference: str, headers: Mapping[str, str]) -> Model:
        filename = files[0].path.rpartition("/")[2]
        found = [self._header(file, headers) for file in files]
        with _named(filename):
            count = len(parts_of(filename, found[0]))
            if count != len(files):
                raise InvalidInputError(
                    f"By its name it is one of {len(files)} files, by its header one of {count}.",
                    "Look for another file of the model.",
                )
            size_bytes = sum(file.size_bytes or 0 for file in files)
            model = gguf_model(filename, found, reference=reference, size_bytes=size_bytes)
        return replace(model, files=files, sha256=files[0].sha256 if len(files) == 1 else None)

    def _safetensors(self, found: hub.HubFiles, headers: Mapping[str, str]) -> Model:
        weights = [file for file in found.files if is_weights(file.path)]
        with ThreadPoolExecutor(AT_ONCE) as workers:
            counted = add_weights(workers.map(lambda file: self._weights(file, headers), weights))
        repository = found.reference.repository
        with _named(repository):
            model = safetensors_model(
                repository.rpartition("/")[2],
                found.config or {},
                counted,
                reference=str(found.reference),
                size_bytes=sum(file.size_bytes or 0 for file in found.files),
            )
        return replace(model, files=found.files)

    def _header(self, file: PinnedFile, headers: Mapping[str, str]) -> GgufHeader:
        size_bytes = file.size_bytes or 0
        with _named(file.path), open_ranged(file.urls[0], size_bytes, self.transport, headers) as opened:
            return read_header(opened, size_bytes)

    def _weights(self, file: PinnedFile, headers: Mapping[str, str]) -> Weights:
        size_bytes = file.size_bytes or 0
        with open_ranged(file.urls[0], size_bytes, self.transport, headers) as opened:
            return count_weights(opened, size_bytes, file.path)

    def _sized(self, file: PinnedFile, headers: Mapping[str, str]) -> PinnedFile:
        """Return the file with its size, asked of the server where nobody has told it."""
        if file.size_bytes is not None:
            return file
        return replace(file, size_bytes=_size(get_range(file.urls[0], self.transport, headers, 0, 1), file))


def _size(answer: Answer, file: PinnedFile) -> int:
    refuse_page(answer)
    if answer.status in (404, 410):
        raise InvalidInputError(f"There is no file {redact(file.urls[0])}.", "Check the address.")
    if answer.status in (401, 403):
        raise UnreachableError(
            f"{redact(file.urls[0])} is not open to everybody ({answer.status}).", "Download it and use file:PATH."
        )
    if answer.status == 200:
        raise whole_files_only(file.urls[0])
    if answer.status != 206:
        raise unexpected(answer)
    told = _RANGE.fullmatch(answer.headers.get("content-range", ""))
    if told is None or int(told[1]) > MAX_SIZE_BYTES:
        raise not_as_documented(answer, "it does not say how large the file is")
    return int(told[1])


def _sibling(url: str, name: str) -> str:
    """Return the address of another file beside the one at ``url``."""
    parts = urlsplit(url)
    return parts._replace(path=f"{parts.path.rpartition('/')[0]}/{quote(name)}").geturl()


@contextmanager
def _named(name: str) -> Iterator[None]:
    """Name the file in what a header's reader says."""
    try:
        yield
    except InvalidInputError as error:
        raise InvalidInputError(f"{name}: {error.message}", error.hint) from error
