"""``fabric models``, and the models of the store from their arrival to their removal, with a stand-in engine."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.model_places import SITES
from tests.e2e.test_verify import flip
from tests.standin.command import NOBODY, Fabric
from tests.standin.hub_server import Answer, HubServer, serving_hub
from tests.standin.ollama_archive import lay_out, real_ollama
from tests.unit.artifacts.gguf_file import KEYS, gguf, string
from tests.unit.artifacts.hf_files import LLAMA_8B, safetensors

TINY, OTHER = gguf(KEYS[:8]), gguf([*KEYS[:8], string("general.author", "other")])
REFERENCE = "hf:team/tiny-GGUF:tiny-Q4_1.gguf"
REGISTERED = "ollama:tiny:1b"


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[HubServer]:
    place = tmp_path / "published"
    place.mkdir()
    (place / "tiny-Q4_1.gguf").write_bytes(TINY)
    with serving_hub() as server:
        server.add_repository("team/tiny-GGUF", place, card={"license": "apache-2.0"})
        server.add_ollama("library/tiny:1b", [("model", OTHER), ("template", b"{{ .Prompt }}")])
        yield server


@pytest.fixture
def fabric(quick: Fabric, hub: HubServer) -> Fabric:
    quick.variables.update({f"FABRIC_MIRROR_{name}": hub.root for name in SITES})
    return quick


def unreachable() -> dict[str, str]:
    return {f"FABRIC_MIRROR_{name}": NOBODY for name in SITES}


def files(fabric: Fabric) -> list[Path]:
    return sorted(path for path in (fabric.prefix / "models").rglob("*") if path.is_file())


def test_a_pulled_model_is_in_the_store_and_not_served(fabric: Fabric) -> None:
    (pulled,) = fabric.succeed("models", "pull", REFERENCE)["pulled"]
    assert (pulled["name"], pulled["changed"], pulled["in_use"], pulled["damage"]) == ("tiny-Q4_1", True, False, "")
    assert fabric.succeed("status")["state"] in ("absent", "stopped")
    (file,) = files(fabric)
    assert file.read_bytes() == TINY
    assert file.name == f"{hashlib.sha256(TINY).hexdigest()}.gguf"
    assert not (fabric.prefix / "journal.jsonl").exists()
    assert not (fabric.prefix / "staging").exists()


def test_pulling_again_fetches_nothing_and_asks_nobody(fabric: Fabric, hub: HubServer) -> None:
    fabric.succeed("models", "pull", REFERENCE, REGISTERED)
    asked, state = len(hub.seen), (fabric.prefix / "state.json").read_bytes()
    again = fabric.succeed("models", "pull", REFERENCE, REGISTERED)
    assert again["changed"] is False
    assert len(hub.seen) == asked
    assert (fabric.prefix / "state.json").read_bytes() == state


def spec_with_mirrors(address: str) -> str:
    return json.dumps({"install": {"mirrors": {name.lower(): address for name in SITES}}})


@pytest.mark.parametrize("options", [[], ["-f", "wishes/other.yaml"]])
def test_a_pull_goes_to_the_mirrors_of_the_spec(fabric: Fabric, hub: HubServer, options: list[str]) -> None:
    (fabric.home / "wishes").mkdir()
    (fabric.home / "fabric.yaml").write_text(spec_with_mirrors(NOBODY if options else hub.root), encoding="utf-8")
    (fabric.home / "wishes" / "other.yaml").write_text(spec_with_mirrors(hub.root), encoding="utf-8")
    own = {**OWN, "models": [{**OWN["models"][0], "name": "theirs"}]}
    (fabric.home / "wishes" / "fabric.models.yaml").write_text(json.dumps(own), encoding="utf-8")
    unset = {f"FABRIC_MIRROR_{name}": None for name in SITES}
    names = [REFERENCE, REGISTERED, *(["theirs"] if options else [])]
    pulled = fabric.succeed("models", "pull", *names, *options, env=unset)["pulled"]
    assert [row["changed"] for row in pulled] == [True, True, False][: len(names)]


def test_the_same_file_under_two_references_is_one_file(fabric: Fabric) -> None:
    fabric.succeed("models", "pull", REFERENCE)
    again = fabric.succeed("models", "pull", "hf:team/tiny-GGUF:Q4_1")
    assert again["changed"] is False
    (stored,) = fabric.succeed("models", "list")["store"]
    assert stored["known_as"] == sorted([REFERENCE, "hf:team/tiny-GGUF:Q4_1"])
    assert len(files(fabric)) == 1


def test_what_was_pulled_is_served_without_the_network(fabric: Fabric) -> None:
    fabric.succeed("models", "pull", REFERENCE)
    fabric.succeed("up", "--no-smoke")
    up = fabric.succeed("up", "--no-smoke", "--offline", "--model", REFERENCE, env=unreachable())
    assert up["model"] == "tiny-Q4_1"
    assert [change["action"] for change in up["changes"] if change["resource"].startswith("model/")] == ["none"]
    stored = {row["name"]: row for row in fabric.succeed("models", "list")["store"]}
    assert [name for name, row in stored.items() if row["in_use"]] == ["tiny-Q4_1"]


@pytest.mark.parametrize(
    "moment", ["journal:1", "journal:2", "journal:3", "torn:2", "replace:1", "replace:3", "fsync:9"]
)
def test_a_pull_that_is_killed_is_finished_by_the_next_one(fabric: Fabric, moment: str) -> None:
    fabric.succeed("models", "pull", REGISTERED)
    killed = fabric("models", "pull", REFERENCE, env={"STANDIN_KILL": moment})
    assert killed.returncode == -9, killed.said
    fabric.succeed("models", "pull", REFERENCE)
    stored = fabric.succeed("models", "list")["store"]
    assert [(row["name"], row["damage"]) for row in stored] == [("tiny-1b", ""), ("tiny-Q4_1", "")]
    assert not list((fabric.prefix / "partial").glob("*"))
    assert not (fabric.prefix / "journal.jsonl").exists()


def test_nothing_of_a_pull_stays_where_the_bytes_are_other_ones(fabric: Fabric, hub: HubServer) -> None:
    fabric.succeed("models", "pull", REGISTERED)
    hub.blobs[hashlib.sha256(TINY).hexdigest()] = OTHER
    digest = "0" * 64
    url = f"{hub.root}/team/tiny-GGUF/resolve/main/tiny-Q4_1.gguf"
    outcome = fabric("models", "pull", f"{url}#sha256={digest}", "--json")
    assert outcome.returncode == 77, outcome.said
    message = outcome.json["error"]["message"]
    assert digest in message
    assert hashlib.sha256(TINY).hexdigest() in message
    assert [row["name"] for row in fabric.succeed("models", "list")["store"]] == ["tiny-1b"]
    assert not (fabric.prefix / "journal.jsonl").exists()


def test_rm_removes_what_is_not_in_use_by_name_reference_or_hash(fabric: Fabric) -> None:
    for name in ("tiny-Q4_1", REFERENCE, hashlib.sha256(TINY).hexdigest()):
        fabric.succeed("models", "pull", REFERENCE)
        (removed,) = fabric.succeed("models", "rm", name)["removed"]
        assert removed["name"] == "tiny-Q4_1"
        assert files(fabric) == []
        assert fabric.succeed("models", "list")["store"] == []


def test_rm_refuses_what_is_in_use_and_then_removes_nothing(fabric: Fabric) -> None:
    fabric.succeed("models", "pull", REGISTERED)
    fabric.succeed("up", "--no-smoke", "--model", REFERENCE)
    before = files(fabric)
    outcome = fabric("models", "rm", REGISTERED, REFERENCE, "--json")
    assert outcome.returncode == 77, outcome.said
    assert "tiny-Q4_1 is in use" in outcome.json["error"]["message"]
    assert "fabric up --model" in outcome.json["error"]["hint"]
    assert files(fabric) == before


@pytest.mark.parametrize(
    ("name", "exit_code", "told"),
    [
        ("tiny-Q4_0", 64, "Did you mean 'tiny-Q4_1'?"),
        ("file:/etc/hosts", 64, "it stays"),
        ("", 64, "There is no model ''"),
    ],
)
def test_rm_of_what_is_not_in_the_store(fabric: Fabric, name: str, exit_code: int, told: str) -> None:
    fabric.succeed("models", "pull", REFERENCE)
    outcome = fabric("models", "rm", name, "--json")
    assert (outcome.returncode, told in outcome.json["error"]["message"]) == (exit_code, True), outcome.said


def test_a_file_of_the_users_stays_where_it_is(fabric: Fabric, tmp_path: Path) -> None:
    own = tmp_path / "own.gguf"
    own.write_bytes(TINY)
    fabric.succeed("up", "--no-smoke", "--model", f"file:{own}")
    assert files(fabric) == []
    assert fabric("models", "rm", f"file:{own}").returncode == 64
    assert fabric("models", "rm", "own").returncode == 64
    assert fabric("destroy", "--yes").returncode == 0
    assert own.read_bytes() == TINY


@pytest.mark.parametrize(
    ("arguments", "exit_code", "told"),
    [
        (["pull"], 64, "needs the names"),
        (["rm"], 64, "needs the names"),
        (["list", "x"], 64, "takes no names"),
        (["pul"], 64, "Did you mean 'pull'?"),
        (["pull", "auto"], 64, "`auto` is chosen by `fabric up`"),
        (["pull", "file:x.gguf"], 64, "nothing to pull"),
        (["pull", "smollm2-135"], 64, "Did you mean 'smollm2-135m'?"),
        (["pull", "hf:team"], 64, "is not a repository"),
        (["pull", "hf:team/nothing"], 65, "There is no model team/nothing on the hub"),
        (["pull", REFERENCE, "--offline"], 69, "--offline was given"),
    ],
)
def test_what_models_does_not_do(fabric: Fabric, arguments: list[str], exit_code: int, told: str) -> None:
    outcome = fabric("models", *arguments, "--json")
    assert outcome.returncode == exit_code, outcome.said
    assert told in outcome.json["error"]["message"], outcome.said


def test_destroy_may_keep_the_models_and_a_later_up_finds_them(fabric: Fabric, hub: HubServer) -> None:
    fabric.succeed("up", "--no-smoke", "--model", REFERENCE)
    assert fabric("destroy", "--yes", "--keep-models").returncode == 0
    assert {path.name for path in fabric.prefix.iterdir()} >= {"models", "state.json"}
    assert not (fabric.prefix / "engines").exists()
    hub.seen.clear()
    up = fabric.succeed("up", "--no-smoke", "--model", REFERENCE)
    assert hub.seen == []
    assert [change["action"] for change in up["changes"] if change["resource"].startswith("model/")] == ["none"]


def test_a_file_without_a_hash_is_told_as_unverified_and_pinned_from_then_on(fabric: Fabric, hub: HubServer) -> None:
    url = f"{hub.root}/team/tiny-GGUF/resolve/main/tiny-Q4_1.gguf"
    outcome = fabric("models", "pull", url, "--json")
    assert outcome.returncode == 0, outcome.said
    sha256 = hashlib.sha256(TINY).hexdigest()
    assert "unverified" in outcome.stderr
    assert sha256 in outcome.stderr
    assert outcome.json["pulled"][0]["unverified"] is True
    plan = fabric.succeed("plan", "--model", url)["model"]
    assert (plan["sha256"], plan["verified"]) == (sha256, False)
    assert fabric.succeed("plan", "--model", f"{url}#sha256={sha256}")["model"]["verified"] is True
    (file,) = files(fabric)
    file.unlink()
    (fabric.home.parent / "published" / "tiny-Q4_1.gguf").write_bytes(TINY[:-1] + b"?")
    changed = fabric("up", "--no-smoke", "--model", url, "--json")
    assert changed.returncode == 77, changed.said
    assert sha256 in changed.json["error"]["message"]


def test_the_plan_has_the_sizes_of_upstream(fabric: Fabric) -> None:
    plan = fabric.succeed("plan", "--model", REGISTERED)
    (model,) = [change for change in plan["changes"] if change["resource"].startswith("model/")]
    state = fabric.succeed("models", "pull", REGISTERED)["pulled"][0]
    assert plan["model"]["size_bytes"] == model["download_bytes"] == model["disk_bytes"] == state["size_bytes"]


OWN: dict[str, Any] = {
    "version": 1,
    "models": [
        {
            "name": "ours", "license": "MIT", "tier_gb": 0.001, "parameters": 1e6,
            "shape": {"architecture": "llama", "layers": 1, "heads_kv": 1, "key_length": 64, "value_length": 64,
                      "context_length": 8192},
            "engines": {
                "llamacpp": {"reference": REFERENCE, "format": "gguf", "quantization": "Q4_1", "size_bytes": 99999},
                "ollama": {"reference": REGISTERED, "format": "gguf", "size_bytes": 99999},
            },
        }
    ],
}  # fmt: skip


def test_a_name_of_the_users_own_is_one_of_the_catalogue(fabric: Fabric) -> None:
    own = fabric.home / "fabric.models.yaml"
    own.write_text(json.dumps(OWN), encoding="utf-8")
    assert "ours" in {row["name"] for row in fabric.succeed("models", "list")["models"]}
    plan = fabric.succeed("plan", "--model", "ours")
    assert plan["model"]["size_bytes"] == len(TINY), "what upstream has takes the place of what the file says"
    up = fabric.succeed("up", "--no-smoke", "--model", "ours")
    assert up["model"] == "ours"
    (used,) = [row for row in fabric.succeed("models", "list")["models"] if row["served"]]
    assert (used["name"], used["installed"]) == ("ours", True)
    own.unlink()
    again = fabric.succeed("up", "--no-smoke", "--model", "ours")
    assert (again["changed"], again["model"]) == (False, "ours"), "what was fetched by that name is still known by it"


@pytest.mark.parametrize(
    ("document", "told"),
    [
        ("version: 1\nmodels: [{nam: x}]\n", "nam"),
        ("version: 2\nmodels: []\n", "version 2 is not known"),
        ("version: 1\nversion: 1\n", "given twice"),
        ("", "fabric.models.yaml"),
        (json.dumps({**OWN, "models": OWN["models"] * 2}), "ours is there twice"),
    ],
)
def test_a_file_of_models_that_is_wrong_is_refused_by_its_name(fabric: Fabric, document: str, told: str) -> None:
    (fabric.home / "fabric.models.yaml").write_text(document, encoding="utf-8")
    for command in (["models", "list"], ["plan"]):
        outcome = fabric(*command, "--json")
        assert outcome.returncode == 65, outcome.said
        message = outcome.json["error"]["message"]
        assert "fabric.models.yaml" in message
        assert told in message


def test_the_help_has_an_example_of_each_kind(fabric: Fabric) -> None:
    shown = fabric("models", "--help").stdout
    assert all(word in shown for word in ("models pull", "models rm", "hf:", "ollama:"))


def test_two_engines_share_one_copy_and_rm_frees_it(fabric: Fabric, tmp_path: Path) -> None:
    program = lay_out(tmp_path / "ollama", real_ollama())
    fabric.succeed("up", "--no-smoke", "--backend", "llamacpp", "--model", REFERENCE)
    (file,) = files(fabric)
    ollama = ("--backend", "ollama", "--source", "existing", "--program", str(program))
    up = fabric.succeed("up", "--no-smoke", *ollama, "--model", REFERENCE)
    assert up["backend"] == "ollama"
    blob = fabric.prefix / "var" / "ollama" / "models" / "blobs" / f"sha256-{hashlib.sha256(TINY).hexdigest()}"
    assert blob.samefile(file)
    assert files(fabric) == [file]
    assert fabric("models", "rm", "tiny-Q4_1").returncode == 77
    fabric.succeed("up", "--no-smoke", "--backend", "llamacpp", "--model", "smollm2-135m")
    assert file.stat().st_nlink == 2
    fabric.succeed("models", "rm", "tiny-Q4_1")
    assert not file.exists()
    assert not blob.exists()


def test_a_directory_of_safetensors_is_stored_whole_and_refused_by_what_loads_gguf(
    fabric: Fabric, hub: HubServer, tmp_path: Path
) -> None:
    place = tmp_path / "whole"
    place.mkdir()
    published = {
        "config.json": json.dumps(LLAMA_8B).encode(),
        "tokenizer.json": b"{}",
        "model.safetensors": safetensors({"a": ("BF16", [4, 8])}),
        "modeling_x.py": b"raise SystemExit",
    }
    for name, data in published.items():
        (place / name).write_bytes(data)
    hub.add_repository("team/whole", place)
    (pulled,) = fabric.succeed("models", "pull", "hf:team/whole")["pulled"]
    assert pulled["format"] == "safetensors"
    stored = {path.name: path.read_bytes() for path in files(fabric)}
    assert stored == {name: data for name, data in published.items() if not name.endswith(".py")}
    (place / "modeling_x.py").unlink()
    for reference in ("hf:team/whole", f"file:{place}"):
        outcome = fabric("up", "--backend", "llamacpp", "--model", reference, "--json")
        assert outcome.returncode == 1, outcome.said
        assert "llamacpp loads gguf, and whole is safetensors" in outcome.json["error"]["message"]


def test_a_registry_that_wants_a_token_of_anybody_gets_one(fabric: Fabric, hub: HubServer) -> None:
    hub.scripted["/token"] = Answer(200, b'{"token": "anybody"}')
    hub.registry_realm = f"{hub.root}/token"
    assert fabric.succeed("models", "pull", REGISTERED)["changed"] is True
    assert hub.tokens_seen("cdn") == set()


def test_a_pulled_model_is_repaired_without_touching_the_server(fabric: Fabric) -> None:
    fabric.succeed("models", "pull", REFERENCE)
    (pulled,) = files(fabric)
    up = fabric.succeed("up", "--no-smoke")
    flip(pulled)
    repaired = fabric.succeed("verify", "--repair")
    assert (repaired["ok"], repaired["restarted"]) == (True, False)
    assert pulled.read_bytes() == TINY
    assert fabric.server_pid() == up["pid"]


def test_what_was_pulled_is_collected_only_when_that_is_said(fabric: Fabric) -> None:
    fabric.succeed("models", "pull", REFERENCE)
    fabric.succeed("up", "--no-smoke", "--model", REGISTERED)
    up = fabric.succeed("up", "--no-smoke", "--model", REFERENCE)
    collected = fabric.succeed("gc", "--keep", "1")
    assert [each["name"] for each in collected["removed"] if each["kind"] == "model"] == ["tiny-1b"]
    up = fabric.succeed("up", "--no-smoke")
    kept = fabric.succeed("gc", "--keep", "1")
    assert (kept["removed"][0]["kind"], kept["kept_models"]) == ("generation", ["tiny-Q4_1"])
    would = fabric.succeed("gc", "--models", "--dry-run")
    assert [each["name"] for each in would["removed"]] == ["tiny-Q4_1"]
    assert would["freed_bytes"] == len(TINY)
    assert len(files(fabric)) == 2
    fabric.succeed("gc", "--models")
    assert [row["name"] for row in fabric.succeed("models", "list")["store"]] == [up["model"]]
    assert len(files(fabric)) == 1
