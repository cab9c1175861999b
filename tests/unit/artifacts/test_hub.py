from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from provision.artifacts import hub as hub_files
from provision.artifacts.hub import HubFiles, pin, resolve
from provision.artifacts.mirrors import Mirrors
from provision.domain.reference import HubReference, parse_reference
from provision.errors import FabricError, InvalidInputError, RefusedError, UnreachableError
from provision.host.transport import Transport
from tests.standin import hub_server
from tests.standin.hub_server import HF_TOKEN, Answer, HubServer, Repository, model_info
from tests.unit.artifacts.gguf_file import KEYS, gguf
from tests.unit.artifacts.hf_files import LLAMA_8B, safetensors

GGUF = gguf(KEYS[:8])
ONE = safetensors({"a": ("BF16", [4, 8])})
TOKENIZER = json.dumps({"model": {"vocab": {}}}).encode()
REPO = "org/model"
API = f"/api/models/{REPO}"
Publish = Callable[..., Repository]
Resolve = Callable[..., HubFiles]
Pinned = Callable[..., HubFiles]
OWN_PROGRAM = json.dumps(LLAMA_8B | {"auto_map": {"AutoModel": "x.Y"}}).encode()


@pytest.fixture
def publish(hub: HubServer, tmp_path: Path) -> Publish:
    def published(content: dict[str, bytes], **more: Any) -> Repository:
        for name, data in content.items():
            place = tmp_path / "repository" / name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(data)
        return hub.add_repository(REPO, tmp_path / "repository", **more)

    return published


@pytest.fixture
def ask(mirrors: Mirrors, transport: Transport) -> Resolve:
    def resolved(text: str, env: dict[str, str] | None = None) -> HubFiles:
        reference = parse_reference(text)
        assert isinstance(reference, HubReference)
        return resolve(reference, mirrors, transport, env or {})

    return resolved


@pytest.fixture
def pinned(mirrors: Mirrors, transport: Transport) -> Pinned:
    return lambda found, env=None: pin(found, mirrors, transport, env or {})


def directory(**more: bytes) -> dict[str, bytes]:
    return {
        "config.json": json.dumps(LLAMA_8B).encode(),
        "generation_config.json": b"{}",
        "tokenizer.json": TOKENIZER,
        "tokenizer_config.json": b"{}",
        "chat_template.jinja": b"{{ messages }}",
        "model.safetensors": ONE,
        "pytorch_model.bin": b"\x80\x02",
        "modeling_own.py": b"import os",
        "README.md": b"# card",
        "onnx/model.onnx": b"x",
        "original/consolidated.safetensors": ONE,
        "adapter_model.safetensors": ONE,
        ".gitattributes": b"",
        **more,
    }


def paths(found: HubFiles) -> list[str]:
    return [file.path for file in found.files]


def test_a_file_is_pinned_to_the_commit_with_its_size_and_checksum(
    hub: HubServer, publish: Publish, ask: Resolve
) -> None:
    repository = publish({"a b.gguf": GGUF, "other.gguf": GGUF}, card={"license": "mit"})
    found = ask(f"hf:{REPO}:a b.gguf")
    assert (found.commit, found.format, found.license, found.gated) == (repository.commit, "gguf", "mit", False)
    (file,) = found.files
    assert (file.path, file.size_bytes) == ("a b.gguf", len(GGUF))
    assert file.sha256 == hashlib.sha256(GGUF).hexdigest()
    assert file.urls == (f"{hub.root}/{REPO}/resolve/{repository.commit}/a%20b.gguf",)


def test_a_revision_is_asked_for_by_its_name(hub: HubServer, publish: Publish, ask: Resolve) -> None:
    repository = publish({"a.gguf": GGUF}, names=("main", "refs/pr/1"))
    assert ask(f"hf:{REPO}@refs/pr/1").commit == repository.commit
    assert ask(f"hf:{REPO}@{repository.commit}").commit == repository.commit
    assert hub.seen[0].path == f"{API}/revision/refs%2Fpr%2F1?blobs=true"


def test_naming_one_part_of_a_split_model_brings_them_all(hub: HubServer, publish: Publish, ask: Resolve) -> None:
    parts = [f"Q8_0/m-0000{number}-of-00003.gguf" for number in (1, 2, 3)]
    publish({name: GGUF + name.encode() for name in parts} | {"m.gguf": GGUF})
    assert paths(ask(f"hf:{REPO}:{parts[0]}")) == parts
    with pytest.raises(InvalidInputError, match="part 2 of 3"):
        ask(f"hf:{REPO}:{parts[1]}")
    del hub.repositories[REPO].files[parts[2]]
    with pytest.raises(InvalidInputError, match="m-00003-of-00003"):
        ask(f"hf:{REPO}:{parts[0]}")


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (None, "Model-Q4_K_M.gguf"),
        ("Q4_K_M", "Model-Q4_K_M.gguf"),
        ("q4_k_m", "Model-Q4_K_M.gguf"),
        ("Q8_0", "Q8_0/Model-Q8_0-00001-of-00002.gguf"),
        ("F16", "model.f16.gguf"),
        ("mmproj-F32.gguf", "mmproj-F32.gguf"),
    ],
)
def test_a_quantization_is_found_by_its_name(publish: Publish, ask: Resolve, wanted: str | None, expected: str) -> None:
    names = ["Model-Q4_K_M.gguf", "Model-Q4_K_S.gguf", "Model-IQ4_K_M2.gguf", "mmproj-F32.gguf", "model.f16.gguf"]
    names += [f"Q8_0/Model-Q8_0-0000{number}-of-00002.gguf" for number in (1, 2)]
    publish(dict.fromkeys(names, GGUF))
    assert paths(ask(f"hf:{REPO}:{wanted}" if wanted else f"hf:{REPO}"))[0] == expected


def test_the_only_model_needs_no_name(publish: Publish, ask: Resolve) -> None:
    publish({"whatever.gguf": GGUF, "mmproj-F16.gguf": GGUF})
    assert paths(ask(f"hf:{REPO}")) == ["whatever.gguf"]


def test_where_several_models_fit_the_choices_are_listed(publish: Publish, ask: Resolve) -> None:
    publish({"a-Q4_K_M.gguf": GGUF, "a-UD-Q4_K_M.gguf": GGUF, "a-Q8_0.gguf": GGUF})
    for text in (f"hf:{REPO}", f"hf:{REPO}:Q4_K_M"):
        with pytest.raises(InvalidInputError) as caught:
            ask(text)
        assert "a-Q4_K_M.gguf, a-UD-Q4_K_M.gguf" in (caught.value.hint or "")


def test_a_file_that_is_not_there_is_named_with_the_nearest_one(publish: Publish, ask: Resolve) -> None:
    publish({"Model-Q4_K_M.gguf": GGUF, "Model-Q8_0.gguf": GGUF})
    with pytest.raises(InvalidInputError, match=r"Did you mean 'Model-Q4_K_M\.gguf'"):
        ask(f"hf:{REPO}:Model-Q4_K_N.gguf")


def test_of_a_repository_with_safetensors_only_data_is_taken(publish: Publish, ask: Resolve) -> None:
    publish(directory())
    found = ask(f"hf:{REPO}")
    assert found.format == "safetensors"
    assert paths(found) == [
        "chat_template.jinja", "config.json", "generation_config.json", "model.safetensors", "tokenizer.json",
        "tokenizer_config.json",
    ]  # fmt: skip
    assert [file.path for file in found.files if file.sha256] == ["model.safetensors"]


def test_an_index_decides_which_weights_belong_to_the_model(hub: HubServer, publish: Publish, ask: Resolve) -> None:
    index = {"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}
    files = directory(**dict.fromkeys(index["weight_map"].values(), ONE))
    del files["model.safetensors"]
    files |= {"model.safetensors.index.json": json.dumps(index).encode(), "consolidated.safetensors": ONE}
    publish(files)
    weights = [path for path in paths(ask(f"hf:{REPO}")) if path.endswith(".safetensors")]
    assert weights == ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    del hub.repositories[REPO].files["model-00002-of-00002.safetensors"]
    with pytest.raises(InvalidInputError, match="model-00002-of-00002"):
        ask(f"hf:{REPO}")


def test_without_an_index_copies_and_adapters_are_no_weights(publish: Publish, ask: Resolve) -> None:
    files = directory(**{"weights.safetensors": ONE, "consolidated.safetensors": ONE})
    del files["model.safetensors"]
    publish(files)
    weights = [path for path in paths(ask(f"hf:{REPO}")) if path.endswith(".safetensors")]
    assert weights == ["weights.safetensors"]


def test_pinning_learns_the_checksum_of_every_small_file(
    hub: HubServer, publish: Publish, ask: Resolve, pinned: Pinned
) -> None:
    publish(directory())
    found = pinned(ask(f"hf:{REPO}"))
    content = directory()
    for file in found.files:
        assert file.sha256 == hashlib.sha256(content[file.path]).hexdigest()
        assert file.size_bytes == len(content[file.path])
    assert not hub.requests(f"/{REPO}/resolve/{found.commit}/model.safetensors")


@pytest.mark.parametrize("data", [TOKENIZER[:-1] + b"x", TOKENIZER + b" "])
def test_a_small_file_that_differs_from_gits_name_of_it_is_refused(
    hub: HubServer, publish: Publish, ask: Resolve, pinned: Pinned, data: bytes
) -> None:
    publish(directory())
    found = ask(f"hf:{REPO}")
    hub.scripted[f"/{REPO}/resolve/{found.commit}/tokenizer.json"] = Answer(200, data)
    with pytest.raises(RefusedError, match=r"tokenizer\.json is not the file"):
        pinned(found)


def test_a_small_file_without_a_checksum_must_be_small(
    publish: Publish, ask: Resolve, pinned: Pinned, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(directory())
    found = ask(f"hf:{REPO}")
    monkeypatch.setattr(hub_files, "MAX_SMALL_BYTES", len(TOKENIZER) - 1)
    with pytest.raises(RefusedError, match="believable"):
        pinned(found)


@pytest.mark.fault("hostile-model")
def test_programs_and_pickles_are_never_asked_for(
    hub: HubServer, publish: Publish, ask: Resolve, pinned: Pinned
) -> None:
    publish(directory())
    pinned(ask(f"hf:{REPO}"))
    assert not [seen.path for seen in hub.seen if seen.path.endswith((".py", ".bin"))]


@pytest.mark.fault("hostile-model")
@pytest.mark.parametrize(
    ("files", "file", "expected"),
    [
        ({"config.json": b"{}", "pytorch_model.bin": b"x"}, "", "program"),
        ({"model.pt": b"x", "a.gguf": GGUF}, ":model.pt", "program"),
        ({"own.py": b"x", "a.gguf": GGUF}, ":own.py", "program"),
        (directory(**{"config.json": OWN_PROGRAM}), "", "auto_map"),
    ],
)  # fmt: skip
def test_what_runs_code_when_it_is_loaded_is_refused(
    publish: Publish, ask: Resolve, files: dict[str, bytes], file: str, expected: str
) -> None:
    publish(files)
    with pytest.raises(RefusedError, match=expected):
        ask(f"hf:{REPO}{file}")


OWN_CLASS = b'{"auto_map": {"AutoTokenizer": ["x.Y"]}}'
OWN_VISION = json.dumps(LLAMA_8B | {"vision_config": json.loads(OWN_CLASS)}).encode()


@pytest.mark.fault("hostile-model")
@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("config.json", OWN_VISION),
        ("tokenizer_config.json", OWN_CLASS),
        ("processor_config.json", OWN_CLASS),
        ("generation_config.json", b'{"custom_generate": "someone/else"}'),
    ],
)
def test_a_configuration_that_names_a_program_is_refused(
    publish: Publish, ask: Resolve, pinned: Pinned, name: str, content: bytes
) -> None:
    publish(directory(**{name: content}))
    with pytest.raises(RefusedError, match=f"{REPO} carries its own program: {name}"):
        pinned(ask(f"hf:{REPO}"))


def test_so_is_one_that_the_hub_stores_as_a_large_file(
    publish: Publish, ask: Resolve, pinned: Pinned, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_server, "LARGE", (*hub_server.LARGE, "config.json"))
    publish(directory(**{"tokenizer_config.json": OWN_CLASS}))
    found = ask(f"hf:{REPO}")
    assert all(file.sha256 for file in found.files if file.path.endswith("config.json"))
    with pytest.raises(RefusedError, match=f"{REPO} carries its own program: tokenizer_config.json"):
        pinned(found)


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"README.md": b"x"}, "no model that can be served"),
        ({"adapter_model.safetensors": ONE, "adapter_config.json": b"{}"}, "adapter"),
        ({"model.safetensors": ONE}, "config"),
    ],
)
def test_a_repository_without_a_model_says_so(
    publish: Publish, ask: Resolve, files: dict[str, bytes], expected: str
) -> None:
    publish(files)
    with pytest.raises(InvalidInputError, match=expected):
        ask(f"hf:{REPO}")


def test_a_gated_repository_tells_how_to_get_in(hub: HubServer, publish: Publish, ask: Resolve) -> None:
    publish({"a.gguf": GGUF}, gated=True)
    for env in ({}, {"HF_TOKEN": "hf_of_somebody_else"}):
        with pytest.raises(UnreachableError) as caught:
            ask(f"hf:{REPO}", env)
        hint = caught.value.hint or ""
        assert "HF_TOKEN" in hint
        assert f"{hub.root}/{REPO}" in hint
        assert "somebody_else" not in hint
    assert ask(f"hf:{REPO}", {"HF_TOKEN": HF_TOKEN}).gated


@pytest.mark.fault("bad-redirect")
def test_the_token_goes_to_the_hub_and_not_to_its_cdn(
    hub: HubServer, publish: Publish, ask: Resolve, pinned: Pinned
) -> None:
    publish(directory(), gated=True)
    env = {"HF_TOKEN": HF_TOKEN, "GITHUB_TOKEN": "gh_x"}
    found = ask(f"hf:{REPO}", env)
    pinned(found, env)
    assert hub.tokens_seen("site") == {f"Bearer {HF_TOKEN}"}
    publish({"a.gguf": GGUF}, gated=True)
    ask(f"hf:{REPO}:a.gguf", env)
    assert [seen for seen in hub.seen if seen.site == "cdn"]
    assert hub.tokens_seen("cdn") == set()


def test_a_repository_and_a_revision_that_are_not_there(publish: Publish, ask: Resolve) -> None:
    publish({"a.gguf": GGUF})
    with pytest.raises(InvalidInputError, match="no model org/other on the hub, or it is private"):
        ask("hf:org/other")
    with pytest.raises(InvalidInputError, match="no revision 'v9'"):
        ask(f"hf:{REPO}@v9")


def answer_with(change: Callable[[dict[str, Any]], object]) -> Callable[[HubServer], None]:
    def prepare(hub: HubServer) -> None:
        document = model_info(REPO, hub.repositories[REPO])
        change(document)
        hub.scripted[API] = Answer(200, json.dumps(document).encode())

    return prepare


def named(name: object) -> Callable[[HubServer], None]:
    return answer_with(lambda document: document["siblings"][0].update(rfilename=name))


def sized(size: object) -> Callable[[HubServer], None]:
    return answer_with(lambda document: document["siblings"][0]["lfs"].update(size=size))


def hashed(sha256: object) -> Callable[[HubServer], None]:
    return answer_with(lambda document: document["siblings"][0]["lfs"].update(sha256=sha256))


def scripted(
    status: int, body: bytes, media_type: str = "application/json", **headers: str
) -> Callable[[HubServer], None]:
    def prepare(hub: HubServer) -> None:
        hub.scripted[API] = Answer(status, body, {k.replace("_", "-"): v for k, v in headers.items()}, media_type)

    return prepare


@pytest.mark.parametrize(
    ("prepare", "outcome"),
    [
        (named("../a.gguf"), (RefusedError, "unsafe name")),
        (named("/etc/a.gguf"), (RefusedError, "unsafe name")),
        (named("a\\b.gguf"), (RefusedError, "unsafe name")),
        (named("a\x1b[2Jb.gguf"), (RefusedError, "unsafe name")),
        (named(7), (UnreachableError, "documented")),
        (sized(-1), (RefusedError, "impossible size")),
        (sized(1 << 60), (RefusedError, "impossible size")),
        (sized(1.5), (RefusedError, "impossible size")),
        (sized(True), (RefusedError, "impossible size")),
        (hashed("../../x"), (RefusedError, "SHA-256")),
        (hashed(None), (RefusedError, "SHA-256")),
        (answer_with(lambda document: document["siblings"].append(document["siblings"][0])), (RefusedError, "twice")),
        (answer_with(lambda document: document.update(sha="main")), (UnreachableError, "commit")),
        (answer_with(lambda document: document.update(sha="../../../../x")), (UnreachableError, "commit")),
        (answer_with(lambda document: document.update(siblings=None)), (UnreachableError, "list of files")),
        (answer_with(lambda document: document.update(siblings=["a"])), (UnreachableError, "list of files")),
        (scripted(200, b"[]"), (UnreachableError, "documented")),
        (scripted(200, b"null"), (UnreachableError, "documented")),
        (scripted(200, b'{"sha":'), (UnreachableError, "not JSON")),
        (scripted(200, b"[" * 100_000), (UnreachableError, "not JSON")),
        (scripted(200, b"<!DOCTYPE html><p>Log in", "text/html"), (UnreachableError, "proxy or a login page")),
        (scripted(200, b"\n <html>"), (UnreachableError, "proxy or a login page")),
        (scripted(200, b" " * ((1 << 24) + 1)), (RefusedError, "sends more than")),
        (
            scripted(401, b"", X_Error_Message="Invalid credentials in Authorization header"),
            (UnreachableError, "the token"),
        ),
        (scripted(401, b""), (InvalidInputError, "or it is private")),
        (scripted(403, b""), (UnreachableError, "accepted its licence")),
        (scripted(429, b""), (UnreachableError, "too many requests")),
        (scripted(418, b""), (UnreachableError, "418")),
        (scripted(302, b"", Location="http://192.0.2.1/x"), (RefusedError, "only https")),
        (scripted(302, b"", Location="file:///etc/passwd"), (RefusedError, "only https")),
        (scripted(302, b"", Location="http://[::1"), (RefusedError, "no address")),
        (scripted(302, b"", Location=API), (UnreachableError, "redirects for ever")),
    ],
)
def test_a_hostile_or_broken_answer_ends_in_an_error(
    hub: HubServer,
    publish: Publish,
    ask: Resolve,
    prepare: Callable[[HubServer], None],
    outcome: tuple[type[FabricError], str],
) -> None:
    publish({"a.gguf": GGUF})
    prepare(hub)
    with pytest.raises(outcome[0], match=outcome[1]) as caught:
        ask(f"hf:{REPO}")
    assert caught.value.message.isprintable()


def test_another_commit_than_the_one_asked_for_is_refused(hub: HubServer, publish: Publish, ask: Resolve) -> None:
    publish({"a.gguf": GGUF})
    document = model_info(REPO, hub.repositories[REPO])
    hub.scripted[f"{API}/revision/{'0' * 40}"] = Answer(200, json.dumps(document).encode())
    with pytest.raises(RefusedError, match="answers with commit"):
        ask(f"hf:{REPO}@{'0' * 40}")


def test_a_hub_that_is_down_is_unreachable(hub: HubServer, ask: Resolve) -> None:
    hub.scripted[API] = Answer(503, b"")
    with pytest.raises(UnreachableError, match="503"):
        ask(f"hf:{REPO}")
    hub.close()
    with pytest.raises(UnreachableError, match="Cannot reach"):
        ask(f"hf:{REPO}")
