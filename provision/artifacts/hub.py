"""A reference to a Hugging Face hub, turned into files of one commit with sizes and checksums."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from dataclasses import field, replace
from typing import Any
from urllib.parse import quote

from provision.artifacts.hf_config import CONFIG, MAX_CONFIG_BYTES, parse_config
from provision.artifacts.hf_program import is_configuration, refuse_named_program
from provision.artifacts.hub_choice import choose_directory, choose_gguf, is_whole_repository
from provision.artifacts.hub_listing import HubFile, HubListing, explain, read_listing
from provision.artifacts.mirrors import Mirrors
from provision.artifacts.safetensors import INDEX, MAX_INDEX_BYTES, files_in_index
from provision.artifacts.web_json import refuse_page
from provision.domain.artifacts import HashSource, PinnedFile
from provision.domain.frozen import frozen
from provision.domain.reference import HubReference
from provision.errors import InvalidInputError, RefusedError
from provision.host.site import get, get_range
from provision.host.transport import Transport

MAX_SMALL_BYTES = 1 << 25  # the largest tokenizers; git itself takes no larger file on the hub


@frozen
class HubFiles:
    """The files of one model at ``commit``; the first GGUF part, or the files of a directory by their paths.

    ``format`` is ``gguf`` or ``safetensors``; ``config`` is the model's configuration, for the latter. ``blob_ids``
    has git's name of each file without a SHA-256, where the hub tells it.
    """

    reference: HubReference
    commit: str
    format: str
    files: tuple[PinnedFile, ...]
    license: str | None = None
    gated: bool = False
    config: dict[str, Any] | None = field(default=None, repr=False)
    blob_ids: Mapping[str, str] = field(default_factory=dict, repr=False)


@frozen
class Hub:
    """A hub as this user reaches it."""

    mirrors: Mirrors
    transport: Transport
    env: Mapping[str, str]

    def url(self, repository: str, commit: str, path: str) -> str:
        """Return the address of a file."""
        return f"{self.mirrors.huggingface}/{repository}/resolve/{commit}/{quote(path)}"

    def small_file(self, reference: HubReference, commit: str, file: HubFile, max_bytes: int) -> bytes:
        """Return a small file, checked by all that is known of it.

        Raises what ``explain`` returns, and ``RefusedError`` for other bytes than the listing promises.
        """
        if (file.size_bytes or 0) > max_bytes:
            raise RefusedError(
                f"{reference.repository}: {file.path} has {file.size_bytes} bytes, more than is believable.",
                "Nothing was fetched.",
            )
        url = self.url(reference.repository, commit, file.path)
        headers = self.mirrors.headers_for(url, self.env)
        answer = get(url, self.transport, headers, max_bytes)
        if answer.status != 200:
            raise explain(answer, reference, self.mirrors, has_token=bool(headers))
        refuse_page(answer)
        _check(reference.repository, file, answer.body)
        return answer.body


def resolve(reference: HubReference, mirrors: Mirrors, transport: Transport, env: Mapping[str, str]) -> HubFiles:
    """Return the files of the model, as the hub lists them at one commit.

    Raises ``InvalidInputError`` for a repository, revision or file that is not there or a choice that is not one,
    ``UnreachableError`` for a hub that does not answer or does not let us in, ``RefusedError`` for pickled weights,
    a model that brings its own program, and a hostile answer.
    """
    hub = Hub(mirrors, transport, env)
    listing = read_listing(reference, mirrors, transport, env)
    if reference.file is None and is_whole_repository(listing):
        found = _directory(hub, reference, listing)
    else:
        found = _files(hub, reference, listing, "gguf", choose_gguf(listing, reference.file))
    if listing.gated:
        _check_access(hub, found)
    return found


def pin(files: HubFiles, mirrors: Mirrors, transport: Transport, env: Mapping[str, str]) -> HubFiles:
    """Return the same with the SHA-256 of every file; what the hub tells none of is fetched for it, in memory.

    So is every configuration. Raises what ``resolve`` raises.
    """
    hub = Hub(mirrors, transport, env)
    return replace(files, files=tuple(_pinned(hub, files, file) for file in files.files), blob_ids={})


def _directory(hub: Hub, reference: HubReference, listing: HubListing) -> HubFiles:
    data = hub.small_file(reference, listing.commit, _need(listing, CONFIG), MAX_CONFIG_BYTES)
    refuse_named_program(CONFIG, data, listing.repository)
    config = parse_config(data)
    indexed = None
    if index := listing.file(INDEX):
        data = hub.small_file(reference, listing.commit, index, MAX_INDEX_BYTES)
        indexed = files_in_index(io.BytesIO(data), len(data))
        if not indexed:
            raise InvalidInputError(f"{listing.repository}: {INDEX} names no file.", "Use another repository of it.")
    found = _files(hub, reference, listing, "safetensors", choose_directory(listing, indexed))
    return replace(found, config=config)


def _files(hub: Hub, reference: HubReference, listing: HubListing, kind: str, chosen: list[HubFile]) -> HubFiles:
    return HubFiles(
        reference,
        listing.commit,
        kind,
        tuple(
            PinnedFile(
                file.path,
                (hub.url(listing.repository, listing.commit, file.path),),
                file.size_bytes,
                file.sha256,
                HashSource.API if file.sha256 else None,
            )
            for file in chosen
        ),
        listing.license,
        listing.gated,
        blob_ids={file.path: file.blob_id for file in chosen if file.blob_id and not file.sha256},
    )


def _pinned(hub: Hub, files: HubFiles, file: PinnedFile) -> PinnedFile:
    """Return the file with its SHA-256. A configuration is read in any case, for it may name a program."""
    if file.sha256 is not None and not is_configuration(file.path):
        return file
    listed = HubFile(file.path, file.size_bytes, file.sha256, files.blob_ids.get(file.path))
    data = hub.small_file(files.reference, files.commit, listed, MAX_SMALL_BYTES)
    if is_configuration(file.path):
        refuse_named_program(file.path, data, files.reference.repository)
    pinned = replace(file.pinned_by(hashlib.sha256(data).hexdigest()), size_bytes=len(data))
    return replace(pinned, hash_source=HashSource.GIT) if file.sha256 is None and listed.blob_id else pinned


def _check_access(hub: Hub, files: HubFiles) -> None:
    """Ask for a byte of a file whose repository is gated: its listing is open to all, its files are not."""
    url = files.files[0].urls[0]
    headers = hub.mirrors.headers_for(url, hub.env)
    answer = get_range(url, hub.transport, headers, 0, 1)
    if answer.status not in (200, 206):
        raise explain(answer, files.reference, hub.mirrors, has_token=bool(headers))


def _need(listing: HubListing, path: str) -> HubFile:
    return listing.file(path) or HubFile(path)


def _check(repository: str, file: HubFile, data: bytes) -> None:
    """Compare a file with its size, its SHA-256 and git's name of it, as far as they are known."""
    git_name = hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()
    facts = (
        ("bytes", len(data), file.size_bytes),
        ("SHA-256", hashlib.sha256(data).hexdigest(), file.sha256),
        ("git blob", git_name, file.blob_id),
    )
    for what, got, promised in facts:
        if promised is not None and got != promised:
            raise RefusedError(
                f"{repository}: {file.path} is not the file that the hub lists ({what}: {got}, listed: {promised}).",
                "Nothing of it was kept. A mirror that alters files can cause this.",
            )
