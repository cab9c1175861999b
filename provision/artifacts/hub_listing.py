"""What a Hugging Face hub says of a repository, checked, and what its refusals mean.

``GET /api/models/REPO[/revision/REV]?blobs=true`` answers with the commit (``sha``) and ``siblings``: ``rfilename``,
``size``, ``blobId`` (git's name of the content) and, for large files, ``lfs.sha256``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from provision.artifacts.mirrors import HUB_TOKEN, Mirrors
from provision.artifacts.web_json import not_as_documented, read_json, size_in, unexpected
from provision.domain.frozen import frozen
from provision.domain.reference import HubReference
from provision.domain.safe_name import is_safe_path, shown
from provision.errors import FabricError, InvalidInputError, RefusedError, UnreachableError
from provision.host.address import redact
from provision.host.site import Answer
from provision.host.transport import Transport

MAX_FILES = 1 << 15
_COMMIT = re.compile(r"[0-9a-f]{40}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_LICENSE = re.compile(r"[A-Za-z0-9.+_-]{1,64}")


@frozen
class HubFile:
    """One file of a repository. ``blob_id`` is git's name of its content, known only where ``sha256`` is not."""

    path: str
    size_bytes: int | None = None
    sha256: str | None = None
    blob_id: str | None = None


@frozen
class HubListing:
    """A repository at one commit."""

    repository: str
    commit: str
    files: tuple[HubFile, ...]
    license: str | None = None
    gated: bool = False

    def file(self, path: str) -> HubFile | None:
        """Return one file, ``None`` where it is not there."""
        return next((file for file in self.files if file.path == path), None)


def read_listing(reference: HubReference, mirrors: Mirrors, transport: Transport, env: Mapping[str, str]) -> HubListing:
    """Ask the hub. Raises what ``explain`` returns, and ``RefusedError`` for an answer that is hostile."""
    url = f"{mirrors.huggingface}/api/models/{reference.repository}"
    if reference.revision is not None:
        url += f"/revision/{quote(reference.revision, safe='')}"
    headers = mirrors.headers_for(url, env)
    answer, document = read_json(f"{url}?blobs=true", transport, headers)
    if answer.status != 200:
        raise explain(answer, reference, mirrors, has_token=bool(headers))
    return parse_listing(answer, document, reference)


def parse_listing(answer: Answer, document: Any, reference: HubReference) -> HubListing:
    """Return the listing in a document of the hub's API."""
    commit = document.get("sha") if isinstance(document, dict) else None
    rows = document.get("siblings") if isinstance(document, dict) else None
    if not isinstance(commit, str) or not _COMMIT.fullmatch(commit):
        raise not_as_documented(answer, "no commit is named")
    if not isinstance(rows, list) or len(rows) > MAX_FILES or not all(isinstance(row, dict) for row in rows):
        raise not_as_documented(answer, "no list of files is there")
    if reference.revision and _COMMIT.fullmatch(reference.revision) and reference.revision != commit:
        raise RefusedError(
            f"{redact(answer.url)} answers with commit {commit}, not with {reference.revision}.",
            "Nothing was fetched. Check the mirror, if one is set.",
        )
    files = tuple(_file(answer, row) for row in rows)
    if len({file.path for file in files}) != len(files):
        raise RefusedError(f"{redact(answer.url)} lists a file twice.", "Nothing was fetched.")
    return HubListing(reference.repository, commit, files, _license(document), bool(document.get("gated")))


def explain(answer: Answer, reference: HubReference, mirrors: Mirrors, *, has_token: bool) -> FabricError:
    """Return the error for an answer of the hub that is neither 200 nor 206."""
    repository, code = reference.repository, answer.headers.get("x-error-code", "")
    page = f"{mirrors.huggingface}/{repository}"
    if "invalid credentials" in answer.headers.get("x-error-message", "").lower():
        return UnreachableError(f"The hub does not know the token in {HUB_TOKEN}.", "Make a new one, or unset it.")
    if code == "GatedRepo" or answer.status == 403:
        return _gated(repository, page, has_token=has_token)
    if code == "RevisionNotFound" or (answer.status == 404 and reference.revision and code != "RepoNotFound"):
        return InvalidInputError(
            f"{repository} has no revision {shown(reference.revision)}.", f"Its branches, tags and commits: {page}"
        )
    if answer.status in (401, 404):
        return InvalidInputError(
            f"There is no model {repository} on the hub, or it is private.",
            f"Check the name: {page}. A private model needs {HUB_TOKEN}, a token of somebody who may read it.",
        )
    if answer.status == 429:
        return UnreachableError(
            "The hub answers that too many requests come from here.",
            f"Wait a few minutes; {'the account' if has_token else 'with ' + HUB_TOKEN + ' set, the limit'} is wider.",
        )
    return unexpected(answer)


def _gated(repository: str, page: str, *, has_token: bool) -> UnreachableError:
    if has_token:
        return UnreachableError(
            f"{repository} is not open to this token.",
            f"Accept the licence at {page} with the account that the token ({HUB_TOKEN}) belongs to, "
            "and let the token read gated repositories.",
        )
    return UnreachableError(
        f"{repository} is open only to those who accepted its licence.",
        f"Accept it at {page}, make a token there that may read, and set {HUB_TOKEN} to it.",
    )


def _file(answer: Answer, row: dict[str, Any]) -> HubFile:
    path = row.get("rfilename")
    if not isinstance(path, str):
        raise not_as_documented(answer, "a file without a name")
    if not is_safe_path(path):
        raise RefusedError(
            f"{redact(answer.url)} lists a file with the unsafe name {shown(path)}.", "Nothing was fetched."
        )
    large = row.get("lfs")
    if isinstance(large, dict):
        return HubFile(path, size_in(answer, large.get("size", row.get("size")), path), _hash(answer, large, path))
    blob = row.get("blobId")
    known = blob if isinstance(blob, str) and _COMMIT.fullmatch(blob) else None
    return HubFile(path, size_in(answer, row.get("size"), path), None, known)


def _hash(answer: Answer, large: dict[str, Any], path: str) -> str:
    sha256 = large.get("sha256", large.get("oid"))
    if not isinstance(sha256, str) or not _SHA256.fullmatch(sha256):
        raise RefusedError(f"{redact(answer.url)} gives no usable SHA-256 for {path}.", "Nothing was fetched.")
    return sha256


def _license(document: dict[str, Any]) -> str | None:
    """Return the identifier of the licence, from the model card or from the tags."""
    card, tags = document.get("cardData"), document.get("tags")
    named = card.get("license") if isinstance(card, dict) else None
    if named == "other" and isinstance(card, dict) and isinstance(card.get("license_name"), str):
        named = card["license_name"]
    if not isinstance(named, str) and isinstance(tags, list):
        texts = (tag for tag in tags if isinstance(tag, str))
        named = next((tag.partition(":")[2] for tag in texts if tag.startswith("license:")), None)
    return named if isinstance(named, str) and _LICENSE.fullmatch(named) else None
