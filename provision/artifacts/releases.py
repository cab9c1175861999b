"""Releases on GitHub, turned into files with sizes and, where somebody tells them, checksums.

``GET /repos/OWNER/NAME/releases/tags/TAG`` answers with ``assets``: ``name``, ``size`` and ``digest`` (``sha256:...``).
Their address (``browser_download_url``) follows from tag and name, so it is made here, on the site that is configured.
``/releases/latest`` leaves out prereleases, which all of llama.cpp's are, so the newest one is looked for in the list.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import quote

from provision.artifacts.mirrors import GITHUB_TOKENS, Mirrors
from provision.artifacts.web_json import not_as_documented, read_json, read_text, size_in, unexpected
from provision.domain.artifacts import HashSource, PinnedFile
from provision.domain.frozen import frozen
from provision.domain.safe_name import is_safe_path, shown
from provision.errors import FabricError, InvalidInputError, RefusedError, UnreachableError, UsageError
from provision.host.address import redact
from provision.host.site import Answer
from provision.host.transport import Transport

PER_PAGE = 30
MAX_ASSETS = 1000
_REPOSITORY = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,38}/(?!\.\.?$)[A-Za-z0-9._-]{1,100}")
_TAG = re.compile(r"(?!.*\.\.)[A-Za-z0-9_][A-Za-z0-9._+-]{0,127}")
_DIGEST = re.compile(r"sha256:([0-9a-f]{64})")
_CHECKSUM_LINE = re.compile(r"([0-9a-fA-F]{64})[ \t]+\*?(?:\./)?(\S.*?)\s*")


@frozen
class Release:
    """``tag`` names it. The ``path`` of an asset is its name."""

    repository: str
    tag: str
    assets: tuple[PinnedFile, ...]


def resolve_release(
    repository: str, tag: str, mirrors: Mirrors, transport: Transport, env: Mapping[str, str]
) -> Release:
    """Return one release.

    Raises ``InvalidInputError`` where there is none of this tag, ``UnreachableError`` where GitHub does not answer or
    has had enough of us, ``RefusedError`` for a hostile answer.
    """
    if not _TAG.fullmatch(tag):
        raise UsageError(f"{shown(tag)} is not a release's tag.", "Expected a tag such as b11434 or v0.32.15.")
    url = f"{_api(repository, mirrors)}/releases/tags/{quote(tag, safe='')}"
    headers = _headers(url, mirrors, env)
    answer, document = read_json(url, transport, headers)
    if answer.status != 200:
        raise _explain(answer, f"{repository} has no release {tag}.", mirrors)
    release = _release(answer, document, repository, mirrors)
    if release.tag != tag:
        raise RefusedError(f"{redact(url)} answers with the release {shown(release.tag)}.", "Nothing was fetched.")
    return release


def newest_release(
    repository: str,
    pattern: str,
    mirrors: Mirrors,
    transport: Transport,
    env: Mapping[str, str],
    *,
    names: Sequence[str] = (),
) -> Release:
    """Return the newest published release whose whole tag matches ``pattern``, prerelease or not.

    The newest is the first that GitHub lists and that has an asset for each of ``names``: archives arrive one by one,
    and a build that failed never does. Raises as ``resolve_release``.
    """
    url = f"{_api(repository, mirrors)}/releases?per_page={PER_PAGE}"
    headers = _headers(url, mirrors, env)
    answer, document = read_json(url, transport, headers)
    if answer.status != 200:
        raise _explain(answer, f"{repository} has no releases.", mirrors)
    if not isinstance(document, list):
        raise not_as_documented(answer, "it is not a list of releases")
    for row in document:
        tag = row.get("tag_name") if isinstance(row, dict) else None
        if isinstance(tag, str) and re.fullmatch(pattern, tag) and row.get("draft") is not True and row.get("assets"):
            release = _release(answer, row, repository, mirrors)
            if all(pick_asset(release, name) for name in names):
                return release
    raise InvalidInputError(
        f"None of the last {PER_PAGE} releases of {repository} has a tag like {pattern} and every file.",
        "Name a release.",
    )


def newest_tag(*tags: str) -> str:
    """Return the tag with the highest numbers."""
    return max(tags, key=_numbers)


def pick_asset(release: Release, regex: str) -> PinnedFile | None:
    """Return the asset whose whole name matches, the last by name where several do; ``None`` where none does.

    The last by name is the one for the newest version of what the name counts (CUDA, ROCm).
    """
    matching = [asset for asset in release.assets if re.fullmatch(regex, asset.path)]
    return max(matching, key=lambda asset: _numbers(asset.path), default=None)


def checksums(release: Release, asset_name: str, transport: Transport) -> Release:
    """Return the release with the sums of its checksum file (lines of sum and name) filled in.

    Raises ``RefusedError`` where the file and GitHub's own digest of an asset contradict each other, or the file
    itself does; ``InvalidInputError`` where the release has no such file.
    """
    source = next((asset for asset in release.assets if asset.path == asset_name), None)
    if source is None:
        raise InvalidInputError(f"{release.repository} {release.tag} has no {asset_name}.", "Name another release.")
    text = read_text(source.urls[0], transport, {})
    _check_source(source, text)
    sums = _sums(text, asset_name)
    return replace(release, assets=tuple(_summed(asset, sums.get(asset.path)) for asset in release.assets))


def _check_source(source: PinnedFile, text: str) -> None:
    import hashlib

    got = hashlib.sha256(text.encode()).hexdigest()
    if source.sha256 not in (None, got):
        raise RefusedError(
            f"{source.path} has the SHA-256 {got}, and the release says {source.sha256}.", "Nothing was fetched."
        )


def _sums(text: str, name: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for line in text.splitlines():
        if match := _CHECKSUM_LINE.fullmatch(line):
            asset, value = match[2], match[1].lower()
            if found.setdefault(asset, value) != value:
                raise RefusedError(f"{name} gives {shown(asset)} two sums.", "Nothing was fetched.")
    if not found:
        raise UnreachableError(f"{name} holds no checksums.", "A proxy may be in between. Try again later.")
    return found


def _summed(asset: PinnedFile, value: str | None) -> PinnedFile:
    if value is None or asset.sha256 == value:
        return asset
    if asset.sha256 is not None:
        raise RefusedError(
            f"{asset.path}: its release says SHA-256 {asset.sha256}, and its checksum file {value}.",
            "Nothing was fetched. Somebody changed one of the two.",
        )
    return replace(asset, sha256=value, hash_source=HashSource.SUMS)


def _release(answer: Answer, document: Any, repository: str, mirrors: Mirrors) -> Release:
    tag = document.get("tag_name") if isinstance(document, dict) else None
    rows = document.get("assets") if isinstance(document, dict) else None
    if not isinstance(tag, str) or not isinstance(rows, list) or len(rows) > MAX_ASSETS:
        raise not_as_documented(answer, "it is not a release")
    if not _TAG.fullmatch(tag):
        raise RefusedError(f"{redact(answer.url)} names the unsafe tag {shown(tag)}.", "Nothing was fetched.")
    base = f"{mirrors.github}/{repository}/releases/download/{tag}"
    assets = tuple(_asset(answer, row, base) for row in rows if not _is_unfinished(row))
    if len({asset.path for asset in assets}) != len(assets):
        raise RefusedError(f"{redact(answer.url)} lists an asset twice.", "Nothing was fetched.")
    return Release(repository, tag, assets)


def _is_unfinished(row: Any) -> bool:
    """Tell whether an asset is still being uploaded."""
    return isinstance(row, dict) and row.get("state", "uploaded") != "uploaded"


def _asset(answer: Answer, row: Any, base: str) -> PinnedFile:
    name = row.get("name") if isinstance(row, dict) else None
    if not isinstance(name, str):
        raise not_as_documented(answer, "an asset without a name")
    if not is_safe_path(name) or "/" in name:
        raise RefusedError(f"{redact(answer.url)} lists the unsafe name {shown(name)}.", "Nothing was fetched.")
    sha256 = _sha256(answer, row)
    source = HashSource.API if sha256 else None
    return PinnedFile(name, (f"{base}/{quote(name)}",), size_in(answer, row.get("size"), name), sha256, source)


def _sha256(answer: Answer, row: dict[str, Any]) -> str | None:
    digest = row.get("digest")
    if digest is None or (isinstance(digest, str) and not digest.startswith("sha256:")):
        return None
    match = _DIGEST.fullmatch(digest) if isinstance(digest, str) else None
    if match is None:
        raise RefusedError(
            f"{redact(answer.url)} gives an unusable digest {shown(str(digest))}.", "Nothing was fetched."
        )
    return match[1]


def _api(repository: str, mirrors: Mirrors) -> str:
    if not _REPOSITORY.fullmatch(repository):
        raise UsageError(f"{shown(repository)} is not a repository.", "Expected OWNER/NAME.")
    return f"{mirrors.github_api}/repos/{repository}"


def _headers(url: str, mirrors: Mirrors, env: Mapping[str, str]) -> dict[str, str]:
    accept = {"Accept": "application/vnd.github+json", "User-Agent": "fabric", "X-GitHub-Api-Version": "2022-11-28"}
    return {**accept, **mirrors.headers_for(url, env)}


def _explain(answer: Answer, absent: str, mirrors: Mirrors) -> FabricError:
    if answer.status == 404:
        return InvalidInputError(absent, "Check the name of the release, and the mirror, if one is set.")
    limited = answer.headers.get("x-ratelimit-remaining") == "0" or "retry-after" in answer.headers
    if answer.status == 429 or (answer.status == 403 and limited):
        return UnreachableError(
            f"{redact(mirrors.github_api)} answers that too many requests come from this address.",
            f"Wait up to an hour, or set {GITHUB_TOKENS[0]} to any token of yours: the limit is then far wider.",
        )
    if answer.status == 401:
        return UnreachableError(
            f"{redact(mirrors.github_api)} does not accept the token.",
            f"Renew {' or '.join(GITHUB_TOKENS)}, or unset it.",
        )
    return unexpected(answer)


def _numbers(name: str) -> tuple[list[int], str]:
    return [int(number) for number in re.findall(r"[0-9]{1,9}", name)], name
