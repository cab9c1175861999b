from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from provision.artifacts.mirrors import Mirrors
from provision.artifacts.releases import Release, checksums, newest_release, pick_asset, resolve_release
from provision.errors import FabricError, InvalidInputError, RefusedError, UnreachableError, UsageError
from provision.host.transport import Transport
from tests.standin.hub_server import Answer, HubServer, release_info

REPO = "ggml-org/llama.cpp"
LATEST, TAGGED = f"/repos/{REPO}/releases", f"/repos/{REPO}/releases/tags/b100"
ASSETS = {"llama-b100-bin-ubuntu-x64.tar.gz": b"cpu", "llama-b100-bin-ubuntu-cuda-12.8-x64.tar.gz": b"cuda"}
Ask = Callable[..., Release]


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def ask(mirrors: Mirrors, transport: Transport) -> Ask:
    return lambda tag="b100", env=None: resolve_release(REPO, tag, mirrors, transport, env or {})


def test_a_release_becomes_files_with_githubs_own_digests(hub: HubServer, ask: Ask) -> None:
    hub.add_release(REPO, "b100", ASSETS)
    release = ask()
    assert release.tag == "b100"
    (first, _) = release.assets
    assert (first.path, first.size_bytes, first.sha256) == ("llama-b100-bin-ubuntu-x64.tar.gz", 3, sha256(b"cpu"))
    assert first.urls == (f"{hub.root}/{REPO}/releases/download/b100/{first.path}",)


def test_assets_come_from_the_mirror_whatever_the_api_says(
    hub: HubServer, mirrors: Mirrors, transport: Transport
) -> None:
    release = hub.add_release(REPO, "b100", ASSETS)
    document = release_info(REPO, release, "https://elsewhere.example")
    hub.scripted[TAGGED] = Answer(200, json.dumps(document).encode())
    chosen = replace(mirrors, github="https://mirror.example/gh")
    asset = resolve_release(REPO, "b100", chosen, transport, {}).assets[0]
    assert asset.urls == (f"https://mirror.example/gh/{REPO}/releases/download/b100/{asset.path}",)


def test_an_asset_that_is_still_being_uploaded_is_left_out(hub: HubServer, ask: Ask) -> None:
    document = release_info(REPO, hub.add_release(REPO, "b100", ASSETS), hub.root)
    document["assets"][0]["state"] = "starter"
    hub.scripted[TAGGED] = Answer(200, json.dumps(document).encode())
    assert len(ask().assets) == 1


def test_the_newest_release_is_found_among_prereleases(hub: HubServer, mirrors: Mirrors, transport: Transport) -> None:
    for tag in ("b99", "b100", "v1.0.0", "gguf-v0.1", "b101-draft"):
        hub.add_release(REPO, tag, ASSETS)
    hub.add_release(REPO, "b102", {})
    assert newest_release(REPO, r"b\d+", mirrors, transport, {}).tag == "b100"
    with pytest.raises(InvalidInputError, match="tag like"):
        newest_release(REPO, r"nightly", mirrors, transport, {})
    assert hub.requests(LATEST)[0].path == f"{LATEST}?per_page=30"


def test_drafts_are_no_releases(hub: HubServer, mirrors: Mirrors, transport: Transport) -> None:
    rows = [release_info(REPO, hub.add_release(REPO, tag, ASSETS), hub.root) for tag in ("b100", "b99")]
    rows[0]["draft"] = True
    hub.scripted[LATEST] = Answer(200, json.dumps(rows).encode())
    assert newest_release(REPO, r"b\d+", mirrors, transport, {}).tag == "b99"


def test_an_asset_is_picked_by_its_whole_name_and_the_newest_number_wins(hub: HubServer, ask: Ask) -> None:
    names = [f"llama-b100-bin-ubuntu-cuda-{number}-x64.tar.gz" for number in ("9.9", "12.8", "13.4")]
    hub.add_release(REPO, "b100", {**ASSETS, **dict.fromkeys(names, b"x"), f"cudart-{names[2]}": b"y"})
    pattern = r"llama-b\d+-bin-ubuntu-cuda-(\d+\.\d+)-x64\.tar\.gz"
    picked = pick_asset(ask(), pattern)
    assert picked is not None
    assert picked.path == names[2]
    assert pick_asset(ask(), r"llama-b\d+-bin-ubuntu-cuda") is None


def sums(assets: dict[str, bytes], form: str = "{}  ./{}") -> bytes:
    return "".join(form.format(sha256(data), name) + "\n" for name, data in assets.items()).encode()


@pytest.mark.parametrize("form", ["{}  ./{}", "{}  {}", "{} *{}", "{}\t./{}\r"])
def test_a_checksum_file_fills_in_what_the_api_does_not_tell(
    hub: HubServer, ask: Ask, transport: Transport, form: str
) -> None:
    hub.add_release(REPO, "b100", {**ASSETS, "sha256sum.txt": sums(ASSETS, form)}, has_digests=False)
    assert not any(asset.sha256 for asset in ask().assets)
    found = checksums(ask(), "sha256sum.txt", transport)
    assert {asset.path: asset.sha256 for asset in found.assets} == {
        **{name: sha256(data) for name, data in ASSETS.items()},
        "sha256sum.txt": None,
    }


def test_a_checksum_file_that_agrees_changes_nothing(hub: HubServer, ask: Ask, transport: Transport) -> None:
    hub.add_release(REPO, "b100", {**ASSETS, "sha256sum.txt": sums(ASSETS)})
    assert checksums(ask(), "sha256sum.txt", transport) == ask()


@pytest.mark.parametrize(
    ("content", "outcome"),
    [
        (sums(dict.fromkeys(ASSETS, b"other")), (RefusedError, "its release says")),
        (sums(ASSETS) + sums(dict.fromkeys(ASSETS, b"other")), (RefusedError, "two sums")),
        (b"nothing here\n", (UnreachableError, "no checksums")),
        (b"<html>Log in</html>", (UnreachableError, "login page")),
    ],
)
def test_checksums_that_contradict_each_other_are_refused(
    hub: HubServer, ask: Ask, transport: Transport, content: bytes, outcome: tuple[type[FabricError], str]
) -> None:
    hub.add_release(REPO, "b100", {**ASSETS, "sha256sum.txt": content})
    with pytest.raises(outcome[0], match=outcome[1]):
        checksums(ask(), "sha256sum.txt", transport)


def test_a_checksum_file_that_was_changed_is_refused(hub: HubServer, ask: Ask, transport: Transport) -> None:
    release = hub.add_release(REPO, "b100", {**ASSETS, "sha256sum.txt": sums(ASSETS)})
    found = ask()
    release.assets["sha256sum.txt"] = sums(ASSETS) + b"\n"
    with pytest.raises(RefusedError, match="the release says"):
        checksums(found, "sha256sum.txt", transport)
    with pytest.raises(InvalidInputError, match="has no SHA256SUMS"):
        checksums(found, "SHA256SUMS", transport)


def test_the_token_is_for_the_api_alone(hub: HubServer, mirrors: Mirrors, transport: Transport) -> None:
    hub.add_release(REPO, "b100", {**ASSETS, "sha256sum.txt": sums(ASSETS)})
    chosen = replace(mirrors, github=hub.cdn, huggingface="https://hub.example")
    hub.scripted[f"/{REPO}/releases/download/b100/sha256sum.txt"] = Answer(200, sums(ASSETS), media_type="text/plain")
    release = resolve_release(REPO, "b100", chosen, transport, {"GITHUB_TOKEN": "gh_x"})
    checksums(release, "sha256sum.txt", transport)
    assert hub.tokens_seen("site") == {"Bearer gh_x"}
    assert hub.tokens_seen("cdn") == set()


Prepare = Callable[[HubServer], None]


def changed(change: Callable[[dict[str, Any]], object]) -> Prepare:
    def prepare(hub: HubServer) -> None:
        document = release_info(REPO, hub.add_release(REPO, "b100", ASSETS), hub.root)
        change(document)
        hub.scripted[TAGGED] = Answer(200, json.dumps(document).encode())

    return prepare


def asset(**values: object) -> Prepare:
    return changed(lambda document: document["assets"][0].update(values))


def scripted(status: int, body: bytes, media_type: str = "application/json", **headers: str) -> Prepare:
    def prepare(hub: HubServer) -> None:
        hub.scripted[TAGGED] = Answer(status, body, {k.replace("_", "-"): v for k, v in headers.items()}, media_type)

    return prepare


@pytest.mark.parametrize(
    ("prepare", "error", "expected"),
    [
        (asset(name="../a"), RefusedError, "unsafe name"),
        (asset(name="/a"), RefusedError, "unsafe name"),
        (asset(name="a/b"), RefusedError, "unsafe name"),
        (asset(name="a\\b"), RefusedError, "unsafe name"),
        (asset(name=None), UnreachableError, "without a name"),
        (asset(name="llama-b100-bin-ubuntu-cuda-12.8-x64.tar.gz"), RefusedError, "twice"),
        (asset(size=-5), RefusedError, "impossible size"),
        (asset(size=10**30), RefusedError, "impossible size"),
        (asset(digest="sha256:../x"), RefusedError, "unusable digest"),
        (asset(digest=7), RefusedError, "unusable digest"),
        (changed(lambda document: document.update(assets="x")), UnreachableError, "not a release"),
        (changed(lambda document: document["assets"].append("x")), UnreachableError, "without a name"),
        (changed(lambda document: document.update(tag_name="b101")), RefusedError, "answers with the release"),
        (changed(lambda document: document.update(tag_name="../x")), RefusedError, "unsafe tag"),
        (scripted(200, b"[]"), UnreachableError, "not a release"),
        (scripted(200, b"null"), UnreachableError, "not a release"),
        (scripted(200, b"<html>", "text/html"), UnreachableError, "login page"),
        (scripted(404, b"{}"), InvalidInputError, "has no release b100"),
        (scripted(403, b"{}", X_RateLimit_Remaining="0"), UnreachableError, "too many requests"),
        (scripted(403, b"{}", Retry_After="60"), UnreachableError, "too many requests"),
        (scripted(429, b"{}"), UnreachableError, "too many requests"),
        (scripted(403, b"{}"), UnreachableError, "403"),
        (scripted(401, b"{}"), UnreachableError, "does not accept the token"),
    ],
)
def test_a_hostile_or_broken_answer_ends_in_an_error(
    hub: HubServer, ask: Ask, prepare: Prepare, error: type[FabricError], expected: str
) -> None:
    prepare(hub)
    with pytest.raises(error, match=expected):
        ask()


@pytest.mark.parametrize("tag", ["", "..", "a/b", "a?b", "-x", "a b"])
def test_a_tag_that_is_none_is_refused_before_anybody_is_asked(hub: HubServer, ask: Ask, tag: str) -> None:
    with pytest.raises(UsageError):
        ask(tag)
    assert hub.seen == []


def test_a_repository_that_is_none_is_refused(mirrors: Mirrors, transport: Transport) -> None:
    for name in ("llama.cpp", "a/b/c", "a/..", "../b", "a/b?x"):
        with pytest.raises(UsageError):
            resolve_release(name, "b1", mirrors, transport, {})
