from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Any

import pytest

from provision.artifacts.mirrors import Mirrors
from provision.artifacts.ollama_registry import OllamaManifest, registry_of, resolve
from provision.domain.reference import OllamaReference, parse_reference
from provision.errors import FabricError, InvalidInputError, RefusedError, UnreachableError
from provision.host.transport import Transport
from tests.standin.hub_server import DOCKER_MANIFEST, Answer, HubServer
from tests.unit.artifacts.gguf_file import KEYS, gguf

GGUF = gguf(KEYS[:8])
LAYERS = [("model", GGUF), ("template", b"{{ .Prompt }}"), ("license", b"MIT"), ("params", b'{"stop": ["x"]}')]
MANIFEST = "/v2/library/tiny/manifests/1b"
Ask = Callable[..., OllamaManifest]


@pytest.fixture
def ask(mirrors: Mirrors, transport: Transport) -> Ask:
    def resolved(text: str = "ollama:tiny:1b") -> OllamaManifest:
        reference = parse_reference(text)
        assert isinstance(reference, OllamaReference)
        return resolve(reference, mirrors, transport, {"HF_TOKEN": "hf_x", "GITHUB_TOKEN": "gh_x"})

    return resolved


def test_a_manifest_becomes_files_named_by_their_checksums(hub: HubServer, ask: Ask) -> None:
    hub.add_ollama("library/tiny:1b", LAYERS)
    found = ask()
    digest = hashlib.sha256(GGUF).hexdigest()
    assert (found.model.path, found.model.sha256, found.model.size_bytes) == (
        f"blobs/sha256-{digest}",
        digest,
        len(GGUF),
    )
    assert found.model.urls == (f"{hub.root}/v2/library/tiny/blobs/sha256:{digest}",)
    assert (found.body, found.digest) == (hub.manifests[MANIFEST], hashlib.sha256(hub.manifests[MANIFEST]).hexdigest())
    for kind, data in LAYERS:
        layer = found.layer(kind)
        assert layer is not None
        assert layer.sha256 == hashlib.sha256(data).hexdigest()
    assert found.layer("projector") is None
    assert len(found.files) == 5
    assert hub.tokens_seen("site") == set()


def test_a_tag_that_moved_has_another_digest(hub: HubServer, ask: Ask) -> None:
    hub.add_ollama("library/tiny:1b", LAYERS)
    before = ask()
    hub.add_ollama("library/tiny:1b", [("model", gguf(KEYS[:8], data=8192)), *LAYERS[1:]])
    after = ask()
    assert before.digest != after.digest
    assert before.model.sha256 != after.model.sha256


def test_a_blob_that_is_used_twice_is_one_file(hub: HubServer, ask: Ask) -> None:
    hub.add_ollama("library/tiny:1b", [*LAYERS, ("license", b"MIT"), ("projector", GGUF)])
    found = ask()
    assert len(found.layers) == 6
    assert len(found.files) == 5
    assert found.layer("projector") == found.model


def test_another_registry_is_asked_under_its_own_name(hub: HubServer, ask: Ask) -> None:
    hub.add_ollama("team/own:latest", LAYERS)
    place = hub.root.removeprefix("http://")
    assert ask(f"ollama:{place}/team/own").model.urls[0].startswith(f"{hub.root}/v2/team/own/blobs/")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ollama:m", "https://mirror.example"),
        ("ollama:registry.ollama.ai/library/m", "https://mirror.example"),
        ("ollama:hf.co/a/b:Q4_K_M", "https://hf.co"),
        ("ollama:r.example:5000/a/b", "https://r.example:5000"),
        ("ollama:localhost:5000/a/b", "http://localhost:5000"),
        ("ollama:localhost.evil.example/a/b", "https://localhost.evil.example"),
    ],
)
def test_only_ollamas_own_registry_has_the_mirror(text: str, expected: str) -> None:
    reference = parse_reference(text)
    assert isinstance(reference, OllamaReference)
    assert registry_of(reference, Mirrors(ollama_registry="https://mirror.example")) == expected


def test_a_model_or_tag_that_is_not_there_is_named(hub: HubServer, ask: Ask) -> None:
    hub.add_ollama("library/tiny:1b", LAYERS)
    with pytest.raises(InvalidInputError, match="no tiny with the tag 2b") as caught:
        ask("ollama:tiny:2b")
    assert "https://ollama.com/library/tiny/tags" in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        ([*LAYERS, ("adapter", GGUF)], "adapter"),
        ([("tensor", b"x"), ("json", b"{}")], "single tensors"),
        ([*LAYERS, ("model", GGUF + b"2")], "2 GGUF files"),
        ([("license", b"MIT")], "no weights"),
        ([], "no weights"),
    ],
)
def test_what_is_not_one_gguf_file_is_refused_with_the_reason(
    hub: HubServer, ask: Ask, layers: list[tuple[str, bytes]], expected: str
) -> None:
    hub.add_ollama("library/tiny:1b", layers)
    with pytest.raises(InvalidInputError, match=expected):
        ask()


Prepare = Callable[[HubServer], None]


def changed(change: Callable[[dict[str, Any]], object]) -> Prepare:
    def prepare(hub: HubServer) -> None:
        manifest = hub.add_ollama("library/tiny:1b", LAYERS)
        change(manifest)
        hub.manifests[MANIFEST] = json.dumps(manifest).encode()

    return prepare


def layer(**values: object) -> Prepare:
    return changed(lambda manifest: manifest["layers"][0].update(values))


def scripted(status: int, body: bytes, media_type: str = DOCKER_MANIFEST, **headers: str) -> Prepare:
    def prepare(hub: HubServer) -> None:
        hub.scripted[MANIFEST] = Answer(status, body, {k.replace("_", "-"): v for k, v in headers.items()}, media_type)

    return prepare


@pytest.mark.parametrize(
    ("prepare", "error", "expected"),
    [
        (layer(digest="sha256:../../../../etc/passwd"), RefusedError, "unsafe name"),
        (layer(digest="sha256:" + "a" * 63 + "/"), RefusedError, "unsafe name"),
        (layer(digest="sha256:" + "A" * 64), RefusedError, "unsafe name"),
        (layer(digest="sha256:" + "a" * 64 + "\n"), RefusedError, "unsafe name"),
        (layer(digest="sha256-" + "a" * 64), RefusedError, "unsafe name"),
        (layer(digest="md5:" + "a" * 32), RefusedError, "unsafe name"),
        (layer(digest=None), RefusedError, "unsafe name"),
        (layer(size=-1), RefusedError, "impossible size"),
        (layer(size=1 << 62), RefusedError, "impossible size"),
        (layer(size="1"), RefusedError, "impossible size"),
        (layer(size=None), RefusedError, "no size"),
        (layer(mediaType="application/octet-stream"), UnreachableError, "a layer of the type"),
        (layer(mediaType="application/vnd.ollama.image.../x"), UnreachableError, "a layer of the type"),
        (layer(mediaType=None), UnreachableError, "a layer of the type"),
        (changed(lambda m: m["layers"].append("x")), UnreachableError, "a layer of the type"),
        (changed(lambda m: m["config"].update(digest="../x")), RefusedError, "unsafe name"),
        (changed(lambda m: m["config"].update(size=1 << 30)), RefusedError, "impossible size"),
        (changed(lambda m: m["config"].update(mediaType="text/html")), UnreachableError, "configuration"),
        (changed(lambda m: m.update(config=None)), UnreachableError, "configuration"),
        (changed(lambda m: m.update(layers={})), UnreachableError, "without layers"),
        (changed(lambda m: m.update(layers=m["layers"] * 1100)), UnreachableError, "without layers"),
        (changed(lambda m: m.update(schemaVersion=1)), UnreachableError, "not a manifest"),
        (changed(lambda m: m.update(mediaType="application/x")), UnreachableError, "a manifest of the type"),
        (scripted(200, b"[]"), UnreachableError, "not a manifest"),
        (scripted(200, b"<html>Log in", "text/html"), UnreachableError, "login page"),
        (scripted(200, b" " * (1 << 21)), RefusedError, "sends more than"),
        (scripted(200, b"{}", Docker_Content_Digest="sha256:" + "0" * 64), UnreachableError, "not a manifest"),
        (scripted(403, b""), UnreachableError, "wants a login"),
        (scripted(401, b""), UnreachableError, "wants a login"),
        (scripted(401, b"", WWW_Authenticate='Basic realm="x"'), UnreachableError, "wants a login"),
        (scripted(418, b""), UnreachableError, "418"),
    ],
)
def test_a_hostile_or_broken_manifest_ends_in_an_error(
    hub: HubServer, ask: Ask, prepare: Prepare, error: type[FabricError], expected: str
) -> None:
    prepare(hub)
    with pytest.raises(error, match=expected) as caught:
        ask()
    assert caught.value.message.isprintable()


def test_a_manifest_that_is_not_the_one_its_digest_names_is_refused(hub: HubServer, ask: Ask) -> None:
    body = json.dumps(hub.add_ollama("library/tiny:1b", LAYERS)).encode()
    digest = hashlib.sha256(body).hexdigest()
    hub.scripted[MANIFEST] = Answer(200, body, {"Docker-Content-Digest": f"sha256:{digest}"})
    assert ask().digest == digest
    hub.scripted[MANIFEST].headers["Docker-Content-Digest"] = f"sha256:{'0' * 64}"
    with pytest.raises(RefusedError, match=digest):
        ask()


def test_a_token_that_anybody_gets_is_taken_from_the_registry_itself(hub: HubServer, ask: Ask) -> None:
    hub.add_ollama("library/tiny:1b", LAYERS)
    hub.registry_realm = f"{hub.root}/token"
    hub.scripted["/token"] = Answer(200, b'{"token": "anybody"}')
    assert ask().token == "anybody"
    assert "anybody" not in repr(ask())
    assert hub.requests("/token")[0].path == "/token?service=registry&scope=repository%3Atiny%3Apull"


def test_a_token_is_not_fetched_from_another_host(hub: HubServer, ask: Ask) -> None:
    hub.add_ollama("library/tiny:1b", LAYERS)
    hub.registry_realm = f"{hub.cdn}/token"
    with pytest.raises(RefusedError, match="another host"):
        ask()
    assert not [seen for seen in hub.seen if seen.site == "cdn"]


@pytest.mark.parametrize("body", [b"{}", b'{"token": 5}', b'{"token": "a\\nb"}', b"[]"])
def test_a_token_that_is_none_ends_in_an_error(hub: HubServer, ask: Ask, body: bytes) -> None:
    hub.registry_realm = f"{hub.root}/token"
    hub.scripted["/token"] = Answer(200, body)
    with pytest.raises(UnreachableError, match="wants a login"):
        ask()
