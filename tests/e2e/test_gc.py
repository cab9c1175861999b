"""``fabric gc``: what nobody needs goes, what runs and what can be brought back stays, whenever it is killed."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.test_rollback import model_file, serves_as_before
from tests.standin.command import Fabric


def names(quick: Fabric) -> dict[str, list[str]]:
    """What is in the directories of the prefix that hold things which may be collected."""
    kinds = ("engines", "models", "gen", "var", "builds", "partial", "quarantine")
    return {
        kind: sorted(path.name for path in (quick.prefix / kind).iterdir())
        for kind in kinds
        if (quick.prefix / kind).is_dir() and any((quick.prefix / kind).iterdir())
    }


def served_by_a_file(quick: Fabric) -> Any:
    """Serve the model of the store, and then a file of the user's: the first is needed by an older generation only."""
    quick.succeed("up", "--no-smoke")
    return quick.succeed("up", "--no-smoke", "--model", f"file:{model_file(quick.home, trouble=None)}")


def test_what_no_kept_generation_needs_goes_with_all_that_was_left_lying_about(quick: Fabric) -> None:
    before = served_by_a_file(quick)
    prefix = quick.prefix
    long_ago = 1_000_000_000
    (orphan := prefix / "engines" / "llamacpp-0.1-0123456789ab").mkdir()
    (orphan / "program").write_bytes(b"x" * 1000)
    for path in ("var/ollama/models", "builds/llamacpp-1-abcdefabcdef", "partial"):
        (prefix / path).mkdir(parents=True, exist_ok=True)
    for path in ("partial/old.part", "partial/new.part", "logs/failed-generation-0.log"):
        (prefix / path).write_bytes(b"y" * 500)
    for path in ("partial/old.part", "builds/llamacpp-1-abcdefabcdef"):
        os.utime(prefix / path, (long_ago, long_ago))
    there = names(quick)
    would = quick.succeed("gc", "--keep", "1", "--dry-run")
    assert names(quick) == there
    collected = quick.succeed("gc", "--keep", "1")
    assert {**collected, "dry_run": True} == would
    assert sorted(each["kind"] for each in collected["removed"]) == [
        "build",
        "engine",
        "engine-state",
        "generation",
        "generation",
        "model",
        "partial",
    ]
    assert collected["kept_generations"] == [2]
    assert collected["freed_bytes"] == sum(each["size_bytes"] for each in collected["removed"]) > 1500
    assert {kind: len(left) for kind, left in names(quick).items()} == {"engines": 1, "gen": 1, "partial": 1}
    assert not (prefix / "logs" / "failed-generation-0.log").exists()
    assert not list(prefix.glob(".trash-*"))
    serves_as_before(quick, before, "--model", f"file:{quick.home / 'second.gguf'}")
    assert quick.succeed("verify")["ok"] is True
    assert quick.succeed("gc", "--keep", "1")["removed"] == []


def test_what_the_last_three_generations_need_stays(quick: Fabric) -> None:
    served_by_a_file(quick)
    assert quick.succeed("gc")["removed"] == []
    quick.succeed("rollback", "--no-smoke", "--offline")


def killed_at(quick: Fabric, moments: Iterable[str], kept: Path) -> Iterator[int]:
    """Kill a collection at each moment until one survives; yield how many generations are known after the next command.

    That finds all of it there, or nothing.
    """
    served_by_a_file(quick)
    quick.succeed("down")
    shutil.copytree(quick.prefix, kept, symlinks=True)
    for moment in moments:
        killed = quick("gc", "--keep", "1", env={"STANDIN_KILL": moment})
        if killed.returncode == 0:
            return
        assert killed.returncode == -9, f"{moment}: {killed.said}"
        quick.succeed("down")  # any command that takes the lock
        assert not list(quick.prefix.glob(".trash-*")), moment
        assert not (quick.prefix / "journal.jsonl").exists()
        assert quick.succeed("verify")["problems"] == [], moment
        state = json.loads((quick.prefix / "state.json").read_text(encoding="utf-8"))
        assert len(state["generations"]) == len(names(quick)["gen"]), moment
        yield len(state["generations"])
        shutil.rmtree(quick.prefix)
        shutil.copytree(kept, quick.prefix, symlinks=True)


def test_killed_before_the_state_is_written_nothing_goes_and_after_it_all_of_it(quick: Fabric, tmp_path: Path) -> None:
    assert [*killed_at(quick, ("rename:2", "replace:2", "journal:6"), tmp_path / "kept")] == [2, 2, 1]


@pytest.mark.faults
@pytest.mark.timeout(600)
@pytest.mark.parametrize("point", ["journal", "torn", "rename", "replace", "fsync", "unlink"])
def test_killed_at_any_moment_all_of_it_is_there_or_nothing(quick: Fabric, tmp_path: Path, point: str) -> None:
    found = [*killed_at(quick, (f"{point}:{number}" for number in count(1)), tmp_path / "kept")]
    assert len(found) >= 2, "there is such a moment"
    assert found == sorted(found, reverse=True), "first nothing is gone, and from one moment on all of it"


def test_nothing_goes_while_it_is_not_known_what_runs(quick: Fabric) -> None:
    served_by_a_file(quick)
    runtime = quick.prefix / "run" / "server.json"
    told, there = runtime.read_bytes(), names(quick)
    runtime.write_bytes(b"{")
    refused = quick("gc", "--keep", "1", "--json")
    assert refused.returncode == 1, refused.said
    assert "Nothing was removed." in refused.json["error"]["message"]
    runtime.write_bytes(told.replace(b'"generation":2', b'"generation":7'))
    unknown = quick("gc", "--keep", "1", "--json")
    assert unknown.returncode == 1, unknown.said
    assert "generation 7" in unknown.json["error"]["message"]
    runtime.write_bytes(told.replace(b'"generation":2', b'"generation":1'))
    collected = quick.succeed("gc", "--keep", "1")
    assert (collected["kept_generations"], collected["removed"]) == ([1, 2], []), "what runs is needed"
    assert names(quick) == there
    runtime.write_bytes(told)


def test_where_nothing_is_set_up_there_is_nothing_to_collect(quick: Fabric) -> None:
    assert quick.succeed("gc")["removed"] == []
    assert not quick.prefix.exists()
    assert quick("gc", "--keep", "0").returncode == 64


def test_what_somebody_added_inside_an_engine_outlives_it(quick: Fabric) -> None:
    quick.succeed("up", "--no-smoke")
    document = json.loads((quick.prefix / "state.json").read_text(encoding="utf-8"))
    (used,) = (each for each in document["entries"].values() if each["kind"] == "engine")
    old = quick.prefix / "engines" / "llamacpp-0.1-0123456789ab"
    old.mkdir()
    (old / "mine.txt").write_text("of mine", encoding="utf-8")
    document["entries"][old.name] = {**used, "key": old.name, "path": f"engines/{old.name}", "files": []}
    (quick.prefix / "state.json").write_text(json.dumps(document), encoding="utf-8")
    assert [each["name"] for each in quick.succeed("gc")["removed"]] == ["llamacpp"]
    assert not old.exists()
    (kept,) = (path for path in (quick.prefix / "kept").rglob("*") if path.is_file())
    assert kept.read_text(encoding="utf-8") == "of mine"
