"""An Ollama that somebody else runs: asked for a model by any of its names, handed a file, and never changed else."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import ollama as official
import pytest

from tests.e2e.test_external import actions, external
from tests.standin.command import Fabric
from tests.standin.hub_server import serving_hub
from tests.standin.ollama_archive import lay_out
from tests.standin.ollama_disk import MODEL, PARAMS
from tests.standin.ollama_registry import OllamaRegistry, serving_registry
from tests.standin.ollama_server import OllamaServer, serving_ollama
from tests.unit.engines.conftest import tiny_gguf


@pytest.fixture
def registry() -> Iterator[OllamaRegistry]:
    with serving_registry() as registry:
        yield registry


@pytest.fixture(scope="session")
def ollama_program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return lay_out(tmp_path_factory.mktemp("ollama") / "release")


@pytest.fixture
def ollama(ollama_program: Path, tmp_path: Path) -> Iterator[OllamaServer]:
    with serving_ollama(ollama_program, tmp_path / "theirs") as server:
        yield server


def test_a_running_ollama_is_adopted_and_never_touched(
    quick: Fabric, ollama: OllamaServer, registry: OllamaRegistry
) -> None:
    for name in ("kept:1b", "wanted:1b"):
        registry.add(name, (MODEL, tiny_gguf(name=name)), (PARAMS, b'{"num_ctx": 2048}\n'))
    kept, wanted = registry.name("kept:1b"), registry.name("wanted:1b")
    assert ollama.client().post("/api/pull", {"model": kept, "insecure": True, "stream": False}).status == 200

    adopted = quick.succeed("up", *external(ollama.base_url))
    assert (adopted["engine"], adopted["model"], adopted["pid"]) == ("ollama", kept, None)
    assert adopted["engine_version"].count(".") == 2

    wish = external(ollama.base_url, "--model", f"ollama:{wanted}")
    plan = quick.succeed("plan", *wish)
    assert [each["reason"] for each in plan["changes"] if each["action"] == "create"] == ["that Ollama fetches it"]
    assert quick("up", *wish, "--offline").returncode == 69
    pulled = quick("up", *wish, "--json")
    assert pulled.returncode == 0, pulled.said
    assert (pulled.json["model"], pulled.json["smoke"]["ok"]) == (wanted, True)
    assert "pulling manifest" in pulled.stderr
    assert "success" in pulled.stderr
    assert f"Fetching {wanted} " in pulled.stderr
    assert quick.succeed("up", *wish)["changed"] is False
    assert quick.succeed("smoke")["ok"] is True

    quick.succeed("down")
    quick.succeed("destroy", "--yes")
    listed = {row["id"] for row in ollama.client().get("/v1/models").json()["data"]}
    assert listed == {kept, wanted}, "what it has stays"
    assert ollama.process.poll() is None
    os.kill(ollama.process.pid, 0)


@pytest.mark.parametrize(
    ("name", "ended"),
    [("odd-full:1b", (73, "space")), ("odd-newer:1b", (65, "newer")), ("none:1b", (64, "none:1b"))],
)
def test_what_goes_wrong_inside_a_good_answer_is_told_and_ours_goes_on(
    quick: Fabric, ollama: OllamaServer, registry: OllamaRegistry, name: str, ended: tuple[int, str]
) -> None:
    ours = quick.succeed("up", "--no-smoke")
    if not name.startswith("none"):
        registry.add(name, (MODEL, tiny_gguf()))
    failed = quick("up", *external(ollama.base_url, "--model", registry.name(name)), "--json")
    assert failed.returncode == ended[0], failed.said
    assert ended[1] in failed.json["error"]["message"]
    assert quick.server_pid() == ours["pid"]


def test_a_name_that_leaves_the_tag_out_is_the_latest(
    quick: Fabric, ollama: OllamaServer, registry: OllamaRegistry
) -> None:
    registry.add("tiny", (MODEL, tiny_gguf()))
    wish = external(ollama.base_url, "--model", registry.name("tiny"))
    up = quick.succeed("up", *wish)
    assert (up["model"], up["smoke"]["ok"]) == (registry.name("tiny:latest"), True)
    assert quick.succeed("up", *wish)["changed"] is False


@pytest.fixture
def client(ollama: OllamaServer) -> Iterator[official.Client]:
    """What the authors of Ollama ask it with."""
    client = official.Client(ollama.base_url)
    yield client
    client._client.close()


def test_a_file_is_handed_over_once(
    quick: Fabric, ollama: OllamaServer, client: official.Client, tmp_path: Path
) -> None:
    own = tmp_path / "my own.gguf"
    own.write_bytes(tiny_gguf(name="own"))
    wish = external(ollama.base_url, "--model", f"file:{own}")
    plan = quick.succeed("plan", *wish)
    reasons = [each["reason"] for each in plan["changes"] if each["resource"].startswith("model/")]
    assert reasons == ["it is handed to that Ollama"]
    assert client.list().models == [], "a plan changes nothing"

    up = quick("up", *wish, "--offline", "--json")
    assert up.returncode == 0, up.said
    assert (up.json["smoke"]["ok"], "Handing" in up.stderr) == (True, True), up.said
    (made,) = client.list().models
    assert made.model == up.json["model"]
    assert client.chat(up.json["model"], [{"role": "user", "content": "Say hello."}]).message.content
    assert quick.succeed("up", *wish)["changed"] is False

    own.write_bytes(tiny_gguf(name="another"))
    other = quick.succeed("up", *wish)
    assert actions(other)["model"] == "create"
    assert {model.model for model in client.list().models} == {made.model, other["model"]}
    quick.succeed("destroy", "--yes")
    assert len(client.list().models) == 2, "what it has stays"
    assert own.exists()


def test_a_file_that_changed_since_it_was_planned_is_not_taken(
    quick: Fabric, ollama: OllamaServer, client: official.Client, tmp_path: Path
) -> None:
    own, saved = tmp_path / "own.gguf", tmp_path / "plan.json"
    own.write_bytes(tiny_gguf(name="own"))
    quick.succeed("plan", *external(ollama.base_url, "--model", f"file:{own}"), "--out", str(saved))
    own.write_bytes(tiny_gguf(name="changed"))
    assert quick("apply", str(saved)).returncode != 0
    assert client.list().models == []


@pytest.mark.parametrize("data", [b"<html></html>", None])
def test_what_is_no_model_file_is_bad_input(
    quick: Fabric, ollama: OllamaServer, tmp_path: Path, data: bytes | None
) -> None:
    own = tmp_path / "own.gguf"
    if data is not None:
        own.write_bytes(data)
    assert quick("up", *external(ollama.base_url, "--model", f"file:{own}")).returncode == 65


def test_a_model_of_our_store_is_handed_over_where_ollama_cannot_fetch_it(
    quick: Fabric, ollama: OllamaServer, client: official.Client, tmp_path: Path
) -> None:
    reference, place = "hf:team/tiny-GGUF:tiny-Q4_1.gguf", tmp_path / "published"
    place.mkdir()
    (place / "tiny-Q4_1.gguf").write_bytes(tiny_gguf())
    wish = external(ollama.base_url, "--model", reference)
    with serving_hub() as hub:
        hub.add_repository("team/tiny-GGUF", place, card={})
        quick.variables["FABRIC_MIRROR_HUGGINGFACE"] = hub.root
        refused = quick("up", *wish)
        assert (refused.returncode, f"fabric models pull {reference}" in refused.stderr) == (64, True), refused.said
        quick.succeed("models", "pull", reference)
    up = quick.succeed("up", *wish, "--offline")
    assert [model.model for model in client.list().models] == [up["model"]]
    (stored,) = quick.succeed("models", "list")["store"]
    assert (stored["known_as"], stored["in_use"]) == ([reference], False)
    assert quick.succeed("up", *wish)["changed"] is False
