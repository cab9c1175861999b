"""Every change makes a generation, and any that is known can be brought back."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from tests.e2e.test_rollback import model_file, serves_as_before
from tests.standin.command import NOBODY, Fabric


def state(quick: Fabric) -> Any:
    return json.loads((quick.prefix / "state.json").read_text(encoding="utf-8"))


def up(quick: Fabric, *more: str) -> Any:
    return quick.succeed("up", "--no-smoke", *more)


def contexts(quick: Fabric) -> list[tuple[int, int]]:
    """The generations that are known, with the context of each."""
    return [(each["generation"], each["context"]) for each in quick.succeed("rollback", "--list")["generations"]]


def test_every_change_makes_a_generation_and_each_can_be_brought_back(quick: Fabric) -> None:
    before = up(quick, "--context", "512")
    up(quick, "--context", "1024")
    up(quick, "--context", "1024")
    first, second = quick.succeed("rollback", "--list")["generations"]
    assert (first["generation"], second["generation"]) == (1, 2), "what changes nothing makes none"
    assert (first["current"], second["current"]) == (False, True)
    assert (first["was_ready"], second["was_ready"]) == (True, True)
    assert second["changes"] == ["context 512 → 1024"]
    assert (second["verb"], second["restores"], second["collected"]) == ("up", None, [])
    assert first["made_at"] < second["made_at"]
    said = quick("rollback", "--list")
    assert "2 (current)" in said.stdout, said.said
    assert "context 512 → 1024" in said.stdout
    planned = quick.succeed("rollback", "--dry-run")
    assert planned["restores"] == 1
    (config,) = (each for each in planned["changes"] if each["resource"].startswith("config/"))
    assert config["reason"] == "back to generation 1: context 1024 → 512"
    assert contexts(quick) == [(1, 512), (2, 1024)], "a dry run changes nothing"
    back = quick.succeed("rollback", "--no-smoke")
    assert (back["generation"], back["restores"], back["changed"]) == (3, 1, True)
    assert contexts(quick) == [(1, 512), (2, 1024), (3, 512)]
    serves_as_before(quick, before, "--context", "512")
    assert up(quick, "--context", "512")["changed"] is False, "that is what was brought back"
    quick.succeed("rollback", "--no-smoke")
    assert contexts(quick)[-1] == (4, 1024), "the last other one that served is the one that was left"
    quick.succeed("rollback", "1", "--no-smoke")
    assert contexts(quick)[-1] == (5, 512)
    again = quick.succeed("rollback", "1", "--no-smoke")
    assert (again["changed"], again["generation"]) == (False, 5)


def test_an_up_with_another_wish_says_that_it_undoes_a_rollback(quick: Fabric) -> None:
    up(quick, "--context", "512")
    up(quick, "--context", "1024")
    said = quick("rollback", "--no-smoke")
    assert said.returncode == 0, said.said
    assert "`fabric up --context 512`" in said.stdout
    plan = quick.succeed("plan", "--context", "1024")
    reasons = [each["reason"] for each in plan["changes"] if each["resource"].startswith("config/")]
    assert reasons == ["context 512 → 1024, which undoes the rollback to generation 1"]
    undone = quick("up", "--no-smoke", "--context", "1024")
    assert undone.returncode == 0, undone.said
    assert "`fabric rollback` had brought back generation 1" in undone.stderr
    later = quick("up", "--no-smoke", "--context", "2048")
    assert "rollback" not in later.stderr, "that was undone already"


def test_what_is_not_in_the_store_any_more_is_told_refused_offline_and_fetched(quick: Fabric) -> None:
    before = up(quick, "--context", "512")
    up(quick, "--model", f"file:{model_file(quick.home, 'other.gguf', trouble=None)}")
    quick.succeed("models", "rm", before["model"])
    first, _ = quick.succeed("rollback", "--list")["generations"]
    assert len(first["collected"]) == 1
    planned = quick.succeed("rollback", "--dry-run")
    (model,) = (each for each in planned["changes"] if each["resource"].startswith("model/"))
    assert model["action"] == "create"
    assert model["reason"] == "not installed, fetched again by the hashes that were recorded"
    serving = quick.server_pid()
    refused = quick("rollback", "--offline", "--json")
    assert refused.returncode == 69, refused.said
    assert quick.server_pid() == serving
    unreachable = quick("rollback", "--no-smoke", "--json", env={"PIP_INDEX_URL": NOBODY})
    assert unreachable.returncode == 69, unreachable.said
    assert quick.server_pid() == serving, "what served goes on, because nothing was stopped yet"
    quick.succeed("rollback", "--no-smoke")
    serves_as_before(quick, before, "--context", "512")


def test_a_rollback_that_does_not_serve_goes_back_by_itself(quick: Fabric) -> None:
    first = model_file(quick.home, "first.gguf", trouble=None)
    up(quick, "--model", f"file:{first}")
    before = up(quick)
    first.with_name("first.gguf.refuse").touch()
    failed = quick("rollback", "--no-smoke", "--json")
    assert failed.returncode == 1, failed.said
    assert failed.json["schema"] == "fabric.rollback/v1"
    assert "refused as asked" in failed.json["error"]["message"]
    assert "The previous server serves again" in failed.json["error"]["hint"]
    serves_as_before(quick, before)
    third, fourth = quick.succeed("rollback", "--list")["generations"][2:]
    assert (third["was_ready"], third["verb"]) == (False, "rollback")
    assert Path(third["log"]).is_file()
    assert (fourth["was_ready"], fourth["verb"], fourth["restores"]) == (True, "auto-rollback", 2)


def test_where_nothing_is_set_up_or_nothing_else_has_served_there_is_nothing_to_go_back_to(quick: Fabric) -> None:
    nothing = quick("rollback", "--json")
    assert nothing.returncode == 64, nothing.said
    assert not quick.prefix.exists()
    assert quick.succeed("rollback", "--list")["generations"] == []
    up(quick)
    (known,) = quick.succeed("rollback", "--list")["generations"]
    assert known["current"] is True
    alone = quick("rollback", "--json")
    assert alone.returncode == 64, alone.said
    unknown = quick("rollback", "7", "--json")
    assert unknown.returncode == 64, unknown.said
    assert "Known: 1." in unknown.json["error"]["hint"]


def test_a_prefix_of_an_older_version_has_the_generation_that_it_serves(quick: Fabric) -> None:
    before = up(quick, "--context", "512")
    document = state(quick)
    del document["generations"]
    (quick.prefix / "state.json").write_text(json.dumps(document), encoding="utf-8")
    (known,) = quick.succeed("rollback", "--list")["generations"]
    assert (known["generation"], known["current"], known["made_at"]) == (1, True, None)
    assert up(quick, "--context", "512")["changed"] is False
    up(quick, "--context", "1024")
    quick.succeed("rollback", "--no-smoke")
    serves_as_before(quick, before, "--context", "512")


def test_only_the_newest_generations_are_known_without_any_collecting(quick: Fabric) -> None:
    up(quick, "--context", "512")
    document = state(quick)
    old = document["generations"][0]
    document["generations"] = [{**old, "number": number} for number in range(1, 13)]
    document["generation"] = 12
    (quick.prefix / "state.json").write_text(json.dumps(document), encoding="utf-8")
    for number in range(2, 13):
        shutil.copytree(quick.prefix / "gen" / "1", quick.prefix / "gen" / str(number))
    up(quick, "--context", "1024")
    assert [number for number, _ in contexts(quick)] == list(range(4, 14))
    assert sorted(int(path.name) for path in (quick.prefix / "gen").iterdir()) == list(range(4, 14))


def test_a_change_that_fails_the_smoke_test_goes_back_by_itself(quick: Fabric) -> None:
    before = up(quick)
    failed = quick("up", "--context", "512", "--json")
    assert failed.returncode == 1, failed.said
    error = failed.json["error"]
    assert error["code"] == "smoke-failed"
    assert "no finish_reason" in error["message"]
    assert "The previous server serves again" in error["hint"]
    assert str(quick.prefix / "logs" / "failed-generation-2.log") in error["hint"]
    serves_as_before(quick, before)


def test_on_a_first_up_or_without_a_rollback_what_failed_stays(quick: Fabric) -> None:
    first = quick("up", "--json")
    assert first.returncode == 1, first.said
    assert first.json["smoke"]["ok"] is False
    (known,) = quick.succeed("rollback", "--list")["generations"]
    assert (known["current"], known["was_ready"]) == (True, False)
    smoked = quick("up", "--context", "512", "--no-rollback", "--json")
    assert smoked.returncode == 1, smoked.said
    assert smoked.json["smoke"]["ok"] is False
    assert quick.succeed("status")["generation"] == 2
    broken = model_file(quick.home)
    failed = quick("up", "--no-smoke", "--no-rollback", "--model", f"file:{broken}", "--json")
    assert failed.returncode == 1, failed.said
    assert "serves again" not in failed.said
    assert quick.succeed("status")["state"] == "failed"


def test_a_run_that_ended_before_it_could_go_back_forgets_no_way_back(quick: Fabric) -> None:
    before = up(quick)
    wish = ("--no-smoke", "--model", f"file:{model_file(quick.home)}", "--json")
    left = quick("up", *wish, "--no-rollback")  # as a run that was killed while it waited leaves it
    assert left.returncode == 1, left.said
    assert quick.succeed("status")["state"] == "failed"
    failed = quick("up", *wish)
    assert failed.returncode == 1, failed.said
    assert "The previous server serves again" in failed.json["error"]["hint"]
    serves_as_before(quick, before)
