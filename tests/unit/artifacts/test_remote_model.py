from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from provision.artifacts import ranged_file
from provision.artifacts.local_model import describe
from provision.artifacts.mirrors import Mirrors
from provision.artifacts.remote_model import describe_remote
from provision.domain.model import Model
from provision.domain.reference import HubReference, OllamaReference, WebReference, parse_reference
from provision.errors import FabricError, InvalidInputError, RefusedError, UnreachableError
from provision.host.transport import Transport
from tests.standin.hub_server import HF_TOKEN, Answer, HubServer
from tests.unit.artifacts.gguf_file import KEYS, gguf, number, tensor
from tests.unit.artifacts.hf_files import LLAMA_8B, safetensors

REPO = "org/model"
WHOLE = gguf(KEYS[:8])
Ask = Callable[..., Model]
FETCHED = {"reference": "", "path": None, "files": (), "revision": None, "sha256": None, "name": ""}


def part(no: int, count: int, name: str) -> bytes:
    keys = KEYS[:8] if no == 0 else []
    return gguf([*keys, number("split.no", no), number("split.count", count)], [tensor(name, [256], 0, 0)])


PARTS = {f"big-0000{no + 1}-of-00003.gguf": part(no, 3, name) for no, name in enumerate(["a", "blk.0.a", "blk.0.b"])}
INDEX = {"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}
DIRECTORY = {
    "config.json": json.dumps(LLAMA_8B).encode(),
    "tokenizer.json": b"{}",
    "model.safetensors.index.json": json.dumps(INDEX).encode(),
    "model-00001-of-00002.safetensors": safetensors({"a": ("BF16", [4, 8])}),
    "model-00002-of-00002.safetensors": safetensors({"b": ("F32", [16, 8])}),
}


@pytest.fixture
def ask(mirrors: Mirrors, transport: Transport) -> Ask:
    def described(text: str, env: dict[str, str] | None = None) -> Model:
        reference = parse_reference(text)
        assert isinstance(reference, HubReference | OllamaReference | WebReference)
        return describe_remote(reference, mirrors, transport, env or {})

    return described


@pytest.fixture
def publish(hub: HubServer, tmp_path: Path) -> Callable[..., Path]:
    def published(files: dict[str, bytes], **more: Any) -> Path:
        place = tmp_path / "model"
        place.mkdir()
        for name, data in files.items():
            (place / name).write_bytes(data)
        hub.add_repository(REPO, place, **more)
        return place

    return published


def serve(hub: HubServer, files: dict[str, bytes]) -> str:
    """Serve files from a repository's addresses, as any web server would; return the address before the names."""
    for name, data in files.items():
        digest = hashlib.sha256(data).hexdigest()
        hub.blobs[digest] = data
        hub.scripted[f"/files/{name}"] = Answer(302, headers={"Location": f"{hub.cdn}/{digest}"})
    return f"{hub.root}/files"


@pytest.mark.parametrize("files", [{"tiny-Q4_1.gguf": WHOLE}, PARTS, DIRECTORY], ids=["gguf", "parts", "safetensors"])
def test_a_model_is_described_alike_from_afar_and_from_here(
    publish: Callable[..., Path], ask: Ask, files: dict[str, bytes]
) -> None:
    place = publish(files)
    name = next(iter(files)) if files is not DIRECTORY else None
    remote = ask(f"hf:{REPO}:{name}" if name else f"hf:{REPO}")
    local = describe(str(place / name if name else place))
    same = FETCHED | ({"size_bytes": 0} if name is None else {})
    assert replace(remote, **same) == replace(local, **same)  # type: ignore[arg-type]
    assert (remote.name, remote.path) == (local.name, None)
    assert remote.size_bytes == sum(map(len, files.values()))
    assert {file.path: file.sha256 for file in remote.files} == {
        path: hashlib.sha256(data).hexdigest() for path, data in files.items()
    }


def test_a_model_of_the_hub_carries_its_commit_and_its_licence(
    hub: HubServer, publish: Callable[..., Path], ask: Ask
) -> None:
    publish({"a.gguf": WHOLE}, card={"license": "mit"})
    model = ask(f"hf:{REPO}:a.gguf")
    assert (model.revision, model.license) == (hub.repositories[REPO].commit, "mit")
    assert (model.reference, model.sha256) == (f"hf:{REPO}:a.gguf", hashlib.sha256(WHOLE).hexdigest())


def test_a_model_of_the_registry_is_its_gguf_blob(hub: HubServer, ask: Ask) -> None:
    hub.add_ollama("library/tiny:1b", [("model", WHOLE), ("license", b"MIT")])
    model = ask("ollama:tiny:1b")
    digest = hashlib.sha256(WHOLE).hexdigest()
    assert (model.name, model.format, model.license) == ("tiny-1b", "gguf", "apache-2.0")
    assert (model.sha256, model.size_bytes) == (digest, len(WHOLE))
    assert [file.path for file in model.files] == [f"blobs/sha256-{digest}"]
    assert model.revision == hashlib.sha256(hub.manifests["/v2/library/tiny/manifests/1b"]).hexdigest()
    hub.registry_realm = f"{hub.root}/token"
    hub.scripted["/token"] = Answer(200, b'{"token": "anybody"}')
    assert ask("ollama:tiny:1b") == model
    assert hub.tokens_seen("cdn") == set()


def test_a_file_of_the_web_is_described_with_its_size_and_the_checksum_given(hub: HubServer, ask: Ask) -> None:
    base = serve(hub, {"my%20model.gguf": WHOLE} | PARTS)
    hub.scripted["/files/my model.gguf"] = hub.scripted["/files/my%20model.gguf"]
    digest = hashlib.sha256(WHOLE).hexdigest()
    model = ask(f"{base}/my%20model.gguf?x=1#sha256={digest}")
    assert (model.name, model.size_bytes, model.sha256, model.revision) == ("my-model", len(WHOLE), digest, None)
    assert model.files[0].urls == (f"{base}/my%20model.gguf?x=1",)
    split = ask(f"{base}/{next(iter(PARTS))}")
    assert (split.name, split.sha256, split.size_bytes) == ("big", None, sum(map(len, PARTS.values())))
    assert [file.urls[0] for file in split.files] == [f"{base}/{name}" for name in PARTS]


def test_only_headers_are_read_of_a_large_file(hub: HubServer, ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranged_file, "FIRST_WINDOW_BYTES", 1 << 12)
    large = gguf(data=4 << 20)
    base = serve(hub, {"large.gguf": large})
    assert ask(f"{base}/large.gguf").size_bytes == len(large)
    ranges = [seen.headers["range"] for seen in hub.seen if seen.site == "cdn"]
    assert len(ranges) > 2
    assert max(int(each.rpartition("-")[2]) for each in ranges) < 1 << 20


def test_headers_beyond_all_measure_end_in_an_error(hub: HubServer, ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranged_file, "MAX_READ_BYTES", 1000)
    with pytest.raises(InvalidInputError, match="larger than any header"):
        ask(f"{serve(hub, {'a.gguf': gguf()})}/a.gguf")


def test_headers_of_a_gated_model_are_read_with_the_token_which_the_cdn_never_sees(
    hub: HubServer, publish: Callable[..., Path], ask: Ask
) -> None:
    publish(DIRECTORY, gated=True)
    with pytest.raises(UnreachableError, match="licence"):
        ask(f"hf:{REPO}")
    assert ask(f"hf:{REPO}", {"HF_TOKEN": HF_TOKEN}).parameters == 32 + 128
    assert hub.tokens_seen("site") == {f"Bearer {HF_TOKEN}"}
    assert hub.tokens_seen("cdn") == set()


def test_a_hub_that_tells_no_sizes_is_asked_for_each(hub: HubServer, publish: Callable[..., Path], ask: Ask) -> None:
    publish({"a.gguf": WHOLE})
    document = {"sha": hub.repositories[REPO].commit, "siblings": [{"rfilename": "a.gguf"}]}
    hub.scripted[f"/api/models/{REPO}"] = Answer(200, json.dumps(document).encode())
    model = ask(f"hf:{REPO}")
    assert (model.size_bytes, model.files[0].size_bytes, model.sha256) == (len(WHOLE), len(WHOLE), None)


def broken(data: bytes) -> Callable[[HubServer], str]:
    return lambda hub: f"{serve(hub, {'a.gguf': data})}/a.gguf"


def scripted(answer: Answer, name: str = "a.gguf") -> Callable[[HubServer], str]:
    def prepare(hub: HubServer) -> str:
        hub.scripted[f"/files/{name}"] = answer
        return f"{hub.root}/files/{name}"

    return prepare


def without_ranges(hub: HubServer) -> str:
    hub.sends_ranges = False
    return broken(WHOLE)(hub)


@pytest.mark.parametrize(
    ("prepare", "error", "expected"),
    [
        (broken(WHOLE[:100]), InvalidInputError, r"a\.gguf: .*not a usable GGUF"),
        (broken(b"PK\3\4" + bytes(99)), InvalidInputError, r"a\.gguf: .*does not start with GGUF"),
        (broken(gguf([])), InvalidInputError, r"a\.gguf: .*general\.architecture"),
        (broken(part(0, 3, "a")), InvalidInputError, "part of 3, but not named so"),
        (scripted(Answer(404)), InvalidInputError, "There is no file"),
        (scripted(Answer(403)), UnreachableError, "not open to everybody"),
        (scripted(Answer(418)), UnreachableError, "418"),
        (scripted(Answer(200, b"<html>", media_type="text/html")), UnreachableError, "login page"),
        (scripted(Answer(206, b"x", {"Content-Range": "bytes 0-0/*"})), UnreachableError, "how large"),
        (scripted(Answer(206, b"x", {"Content-Range": "bytes 0-0/" + "9" * 18})), UnreachableError, "how large"),
        (scripted(Answer(206, b"x", {"Content-Range": "bytes 0-0/50"})), RefusedError, "other bytes"),
        (scripted(Answer(200), "model.pt"), RefusedError, "program"),
        (without_ranges, UnreachableError, "only as a whole"),
    ],
)
def test_what_is_no_model_or_no_server_for_it_ends_in_an_error(
    hub: HubServer, ask: Ask, prepare: Callable[[HubServer], str], error: type[FabricError], expected: str
) -> None:
    with pytest.raises(error, match=expected):
        ask(prepare(hub))


def test_parts_that_do_not_know_of_each_other_are_no_model(publish: Callable[..., Path], ask: Ask) -> None:
    publish({"m-00001-of-00002.gguf": WHOLE, "m-00002-of-00002.gguf": WHOLE})
    with pytest.raises(InvalidInputError, match="one of 2 files, by its header one of 1"):
        ask(f"hf:{REPO}")


def test_a_directory_with_a_damaged_file_names_it(publish: Callable[..., Path], ask: Ask) -> None:
    publish(DIRECTORY | {"model-00002-of-00002.safetensors": b"\xff" * 40})
    with pytest.raises(InvalidInputError, match="model-00002-of-00002"):
        ask(f"hf:{REPO}")
