"""How Ollama is started: its whole environment, and what makes a release unfit."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from provision.apply.preflight import EngineUnfitError, prove
from provision.artifacts.unpack import unpack
from provision.domain.engine import EngineRelease, Launch, Method
from provision.domain.selection import Selection
from provision.domain.spec import Spec
from provision.engines.engine import Placement
from provision.engines.ollama import RUNNER, VERSION_TEXT, Ollama
from provision.host.program import Command, CommandResult, run
from tests.standin.ollama_archive import make_darwin_archive
from tests.standin.selections import select_for_small_machine

PLACE = Placement(Path("/p/engine"), Path("/p/model.gguf"), Path("/p/gen/1"), Path("/p/var/ollama"), None)


def chosen(selection: Selection, spec: Spec | None = None, **changes: Any) -> Selection:
    return replace(selection, backend="ollama", spec=spec or Spec(), **changes)


def test_home_models_and_address_are_our_own_and_nothing_is_fetched_or_pruned(selection: Selection) -> None:
    env = Ollama().launch(chosen(selection), PLACE).env
    assert env["HOME"] == "/p/var/ollama"
    assert env["OLLAMA_MODELS"] == "/p/var/ollama/models"
    assert env["OLLAMA_HOST"] == f"127.0.0.1:{selection.port}"
    assert (env["OLLAMA_NOPRUNE"], env["OLLAMA_NO_CLOUD"]) == ("1", "1")


@pytest.mark.parametrize(
    ("changes", "name", "value"),
    [
        ({}, "OLLAMA_CONTEXT_LENGTH", "4096"),
        ({"context": 512}, "OLLAMA_CONTEXT_LENGTH", "512"),
        ({}, "OLLAMA_NUM_PARALLEL", "1"),
        ({"parallel": 3}, "OLLAMA_NUM_PARALLEL", "3"),
        ({}, "OLLAMA_KEEP_ALIVE", "-1"),
        ({"spec": Spec(keep_alive=0)}, "OLLAMA_KEEP_ALIVE", "0"),
        ({"spec": Spec(keep_alive=90)}, "OLLAMA_KEEP_ALIVE", "90"),
        ({}, "OLLAMA_KV_CACHE_TYPE", None),
        ({}, "OLLAMA_FLASH_ATTENTION", None),
        ({"spec": Spec(kv_cache="f16")}, "OLLAMA_KV_CACHE_TYPE", "f16"),
        ({"spec": Spec(kv_cache="q8_0")}, "OLLAMA_KV_CACHE_TYPE", "q8_0"),
        ({"spec": Spec(kv_cache="q8_0")}, "OLLAMA_FLASH_ATTENTION", "1"),
        ({"host": "::1", "port": 1234}, "OLLAMA_HOST", "[::1]:1234"),
        ({"host": "localhost", "port": 1234}, "OLLAMA_HOST", "localhost:1234"),
    ],
)
def test_what_was_chosen_becomes_a_variable(
    selection: Selection, changes: dict[str, Any], name: str, value: str | None
) -> None:
    chosen_one = chosen(selection, **{"context": 4096, "parallel": 1, **changes})
    assert Ollama().launch(chosen_one, PLACE).env.get(name) == value


@pytest.mark.parametrize(
    ("acceleration", "masked"), [("cpu", True), ("cuda", False), ("rocm", False), ("vulkan", False), ("metal", False)]
)
def test_only_for_the_processor_every_gpu_is_hidden(selection: Selection, acceleration: str, masked: bool) -> None:
    env = Ollama().launch(chosen(selection, acceleration=acceleration), PLACE).env
    hidden = {name for name in ("CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES") if env.get(name) == "-1"}
    assert bool(hidden) is masked
    assert (env.get("OLLAMA_VULKAN") == "0") is masked


def test_a_trial_asks_no_server_of_the_users_and_makes_no_key_in_their_home(selection: Selection) -> None:
    (trial,) = Ollama().preflight(selection.release, PLACE.engine, Path("/p/staging"))
    assert trial.launch.argv == ("/p/engine/bin/ollama", "--version")
    assert trial.launch.env == {"OLLAMA_HOST": "127.0.0.1:9", "HOME": "/p/staging"}


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ({"name": "smollm2-135m:latest", "context_length": 4096}, True),
        ({"name": "smollm2-135m:latest", "context_length": 8192}, True),
        ({"name": "smollm2-135m:latest"}, True),  # an old version does not tell
        ({"name": "smollm2-135m:latest", "context_length": 2048}, False),
        ({"name": "other:latest", "context_length": 2048}, True),
    ],
)
def test_a_context_that_was_cut_is_told(selection: Selection, said: dict[str, Any], kept: bool) -> None:
    answer = json.dumps({"models": [said]}).encode()
    broken = Ollama().broken_promise(chosen(selection, context=4096), {"/api/ps": answer}.__getitem__)
    assert broken == ("" if kept else "gives the model a context of 2048 tokens instead of 4096")


def release(program: Path | None = None) -> EngineRelease:
    method = Method.EXISTING if program else Method.ARCHIVE
    path = str(program) if program else None
    return EngineRelease("ollama", "x", "1", "cpu", "Linux", "x86_64", 0, "cpu", method, path=path)


def installed(tree: Path, runner: str | None, said: str) -> Path:
    (tree / "bin").mkdir(parents=True)
    (tree / "bin" / "ollama").touch()
    (tree / VERSION_TEXT).write_text(said, encoding="utf-8")
    if runner:
        (tree / runner).parent.mkdir(parents=True, exist_ok=True)
        (tree / runner).touch()
    return tree


def served_by(release: EngineRelease) -> Selection:
    return chosen(select_for_small_machine(), release=release)


@pytest.mark.parametrize(
    ("runner", "said", "fits"),
    [
        (f"lib/ollama/{RUNNER}", "ollama version is 0.32.15", True),
        (f"bin/lib/ollama/{RUNNER}", "ollama version is 0.32.15", True),
        (f"bin/{RUNNER}", "ollama version is 0.32.15", True),
        (None, "ollama version is 0.32.15", False),
        (None, "Warning: could not connect\nWarning: client version is 0.30.0", False),
    ],
)
def test_a_program_alone_is_unfit(tmp_path: Path, runner: str | None, said: str, fits: bool) -> None:
    why = Ollama().why_unfit(served_by(release()), installed(tmp_path, runner, said))
    assert (why == "") is fits
    assert fits or (RUNNER in why and str(tmp_path) in why)


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("", "not what Ollama says"),  # as /bin/true
        ("who knows", "not what Ollama says"),
        ("true (GNU coreutils) 9.1.0", "not what Ollama says"),
        ("ollama version is 0.1.20", "0.1.20 is too old: 0.30.0"),
        ("ollama version is 0.29.9", "0.29.9 is too old"),
        ("ollama version is 0.32.15\nWarning: client version is 0.24.0", "0.24.0 is too old"),
        ("ollama version is 0.24.0\nWarning: client version is 0.30.0", ""),
        ("ollama version is 0.30.0-rc1", ""),
    ],
)
def test_another_program_and_an_old_ollama_are_unfit(tmp_path: Path, said: str, why: str) -> None:
    told = Ollama().why_unfit(served_by(release()), installed(tmp_path, f"lib/ollama/{RUNNER}", said))
    assert why in told
    assert bool(told) is bool(why)


def test_the_archive_for_macos_has_its_programs_at_the_top_and_is_proven_like_any_other(tmp_path: Path) -> None:
    tree = tmp_path / "unpacked"
    unpack(make_darwin_archive(tmp_path), tree)

    def ran(launch: Launch) -> CommandResult:
        return run(Command(launch.argv, 30.0, launch.env), {})

    assert prove(Ollama(), served_by(release()), tree, tmp_path, ran) == "0.32.15"
    assert Ollama().launch(served_by(release()), replace(PLACE, engine=tree)).argv == (str(tree / "ollama"), "serve")
    (tree / RUNNER).unlink()
    with pytest.raises(EngineUnfitError, match="not whole"):
        prove(Ollama(), served_by(release()), tree, tmp_path, ran)


def test_what_belongs_to_an_existing_program_is_looked_for_where_it_really_lies(tmp_path: Path) -> None:
    real = installed(tmp_path / "opt", f"lib/ollama/{RUNNER}", "") / "bin" / "ollama"
    tree = tmp_path / "store"
    tree.mkdir()
    (tree / "ollama").symlink_to(real)
    (tree / VERSION_TEXT).write_text("ollama version is 0.32.15", encoding="utf-8")
    assert Ollama().why_unfit(served_by(release(real)), tree) == ""
    (tmp_path / "opt" / "lib" / "ollama" / RUNNER).unlink()
    assert "not whole" in Ollama().why_unfit(served_by(release(real)), tree)
