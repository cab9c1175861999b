"""A server that does not come up leaves the one before it serving."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.standin.command import Fabric, Outcome, eventually, free_port
from tests.standin.openai_server import Script, serving
from tests.unit.engines.conftest import tiny_gguf


def model_file(directory: Path, name: str = "second.gguf", trouble: str | None = "refuse") -> Path:
    """A model that fabric takes, and on which the stand-in engine fails at once (``refuse``) or crashes (``crash``)."""
    path = directory / name
    path.write_bytes(tiny_gguf(name=name))
    if trouble:
        switch(path, trouble).touch()
    return path


def switch(model: Path, trouble: str = "refuse") -> Path:
    return model.with_name(f"{model.name}.{trouble}")


def up_with(quick: Fabric, model: Path, *more: str) -> Outcome:
    return quick("up", "--no-smoke", "--model", f"file:{model}", *more, "--json")


def generations(quick: Fabric) -> tuple[int, list[str]]:
    """The number of the one that is current, and those that are kept."""
    current = json.loads((quick.prefix / "state.json").read_text(encoding="utf-8"))["generation"]
    assert (quick.prefix / "current").resolve() == quick.prefix.resolve() / "gen" / str(current)
    return current, sorted(path.name for path in (quick.prefix / "gen").iterdir())


def serves_as_before(quick: Fabric, before: Any, *arguments: str) -> Any:
    """Check that everything is as ``before`` said, and that nothing is left to be done."""
    status = quick.succeed("status")
    assert (status["state"], status["model"], status["base_url"]) == ("ready", before["model"], before["base_url"])
    assert status["drift"] == []
    plan = quick.succeed("plan", *arguments)
    assert {change["action"] for change in plan["changes"]} == {"none"}, plan["changes"]
    assert len(quick.processes()) == 2, "the supervisor and the server"
    assert not (quick.prefix / "journal.jsonl").exists()
    assert not (quick.prefix / "staging").exists()
    return status


@pytest.mark.faults
@pytest.mark.fault("server-dies")
def test_a_model_that_crashes_the_engine_leaves_the_previous_one_serving(quick: Fabric, tmp_path: Path) -> None:
    before = quick.succeed("up", "--no-smoke")
    first, _ = generations(quick)
    failed = up_with(quick, model_file(tmp_path, trouble="crash"))
    assert failed.returncode == 1, failed.said
    error = failed.json["error"]
    assert error["code"] == "server-failed"
    assert "it gave up (assertion or abort)" in error["message"], "the decoded reason"
    assert "stand-in: crashing as asked" in error["message"], "the last lines of its log"
    assert f"The previous server serves again: {before['model']} at {before['base_url']}." in error["hint"]
    status = serves_as_before(quick, before)
    assert status["pid"] != before["pid"]
    assert not psutil.pid_exists(before["pid"])
    current, kept = generations(quick)
    assert current == first + 2, "history only grows"
    assert kept == [str(first), str(first + 1), str(first + 2)], "the one that failed stays for a look at it"
    log = quick.prefix / "logs" / f"failed-generation-{first + 1}.log"
    assert str(log) in error["hint"]
    assert "stand-in: crashing as asked" in log.read_text(encoding="utf-8")
    again = quick.succeed("up", "--no-smoke")
    assert (again["changed"], again["pid"]) == (False, status["pid"])


def test_a_model_that_is_fine_later_is_served_then(quick: Fabric, tmp_path: Path) -> None:
    quick.succeed("up", "--no-smoke")
    model = model_file(tmp_path)
    assert up_with(quick, model).returncode == 1
    switch(model).unlink()
    served = up_with(quick, model)
    assert served.returncode == 0, served.said
    assert quick.succeed("status")["model"] == served.json["model"]


@pytest.mark.faults
@pytest.mark.fault("server-dies")
def test_a_change_of_one_option_that_the_engine_refuses_leaves_the_previous_server(quick: Fabric) -> None:
    before = quick.succeed("up", "--no-smoke")
    failed = quick("up", "--no-smoke", "--kv-cache", "q8_0", "--json")
    assert failed.returncode == 1, failed.said
    assert "cache_type_k" in failed.json["error"]["message"], "the stand-in engine has no such setting"
    assert "The previous server serves again" in failed.json["error"]["hint"]
    serves_as_before(quick, before)


@pytest.mark.fault("server-not-ready")
def test_a_server_that_is_not_ready_in_time_leaves_the_previous_one_serving(quick: Fabric, tmp_path: Path) -> None:
    before = quick.succeed("up", "--no-smoke")
    failed = up_with(quick, model_file(tmp_path), "--timeout", "0")
    assert failed.returncode == 1, failed.said
    serves_as_before(quick, before)


def test_an_applied_plan_that_does_not_serve_leaves_the_previous_one_serving(quick: Fabric, tmp_path: Path) -> None:
    before = quick.succeed("up", "--no-smoke")
    model, plan = model_file(tmp_path), tmp_path / "plan.json"
    quick.succeed("plan", "--model", f"file:{model}", "--out", str(plan))
    failed = quick("apply", str(plan), "--json")
    assert failed.returncode == 1, failed.said
    assert "serves again" in failed.json["error"]["hint"]
    serves_as_before(quick, before)


def test_the_key_of_the_previous_server_is_its_key_again(quick: Fabric, tmp_path: Path) -> None:
    with_key = ("--api-key-env", "OLD_KEY")
    before = quick.succeed("up", "--no-smoke", *with_key, env={"OLD_KEY": "the old one"})
    model = model_file(tmp_path)
    failed = quick(
        "up", "--no-smoke", "--model", f"file:{model}", "--api-key-env", "NEW_KEY", env={"NEW_KEY": "the new one"}
    )
    assert failed.returncode == 1, failed.said
    assert (quick.prefix / "secrets" / "api-key").read_text(encoding="utf-8").strip() == "the old one"
    serves_as_before(quick, before, *with_key)


def test_from_nothing_there_is_only_the_error(quick: Fabric, tmp_path: Path) -> None:
    failed = up_with(quick, model_file(tmp_path))
    assert failed.returncode == 1, failed.said
    assert "the model file cannot be loaded" in failed.json["error"]["message"]
    assert "refused as asked" in failed.json["error"]["message"]
    assert "previous" not in failed.stdout + failed.stderr
    assert quick.succeed("status")["state"] == "failed"


def test_after_down_nothing_is_started_again(quick: Fabric, tmp_path: Path) -> None:
    quick.succeed("up", "--no-smoke")
    quick.succeed("down")
    failed = up_with(quick, model_file(tmp_path))
    assert failed.returncode == 1, failed.said
    assert "previous" not in failed.stdout + failed.stderr
    assert quick.succeed("status")["state"] == "failed"


def test_where_the_previous_one_fails_as_well_both_are_told(quick: Fabric, tmp_path: Path) -> None:
    first = model_file(tmp_path, "first.gguf", trouble=None)
    assert up_with(quick, first).returncode == 0
    switch(first).touch()
    failed = up_with(quick, model_file(tmp_path))
    assert failed.returncode == 1, failed.said
    assert "refused as asked" in failed.json["error"]["message"]
    assert "Going back to the previous server, first at" in failed.json["error"]["hint"]
    assert "failed as well" in failed.json["error"]["hint"]
    status = quick.succeed("status")
    assert (status["model"], status["state"] == "ready") == ("first", False)
    switch(first).unlink()
    assert up_with(quick, first).returncode == 0


@pytest.mark.fault("hostile-model")
def test_what_is_no_model_never_stops_the_server(quick: Fabric, tmp_path: Path) -> None:
    before = quick.succeed("up", "--no-smoke")
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"no GGUF at all")
    assert up_with(quick, broken).returncode == 65
    assert serves_as_before(quick, before)["pid"] == before["pid"]


@pytest.mark.fault("engine-does-not-run")
def test_an_engine_that_does_not_run_here_never_stops_the_server(quick: Fabric, tmp_path: Path) -> None:
    before = quick.succeed("up", "--no-smoke")
    program = tmp_path / "llama-server"
    program.write_text("#!/bin/sh\necho 'stand-in: no such thing' >&2\nkill -ILL $$\n", encoding="utf-8")
    program.chmod(0o755)
    failed = quick(
        "up", "--no-smoke", "--backend", "llamacpp", "--program", str(program), "--source", "existing", "--json"
    )
    assert failed.returncode == 1, failed.said
    assert "serves again" not in failed.stdout
    status = serves_as_before(quick, before)
    assert status["pid"] == before["pid"]


def test_a_remote_server_that_cannot_generate_leaves_our_own_serving(quick: Fabric) -> None:
    before = quick.succeed("up", "--no-smoke")
    script = Script(model="theirs", answer=(500, '{"error": {"message": "no memory"}}'))
    with serving(script) as theirs:
        failed = quick("up", "--backend", "external", "--base-url", theirs.base_url, "--json")
    assert failed.returncode == 1, failed.said
    assert "no memory" in failed.json["error"]["message"]
    assert "serves again" in failed.json["error"]["hint"]
    serves_as_before(quick, before)


def test_our_own_that_fails_leaves_the_remote_one_served(quick: Fabric, tmp_path: Path) -> None:
    with serving(Script(model="theirs")) as theirs:
        remote = ("--backend", "external", "--base-url", theirs.base_url)
        quick.succeed("up", *remote)
        failed = up_with(quick, model_file(tmp_path), "--port", str(free_port()))
        assert failed.returncode == 1, failed.said
        status = quick.succeed("status")
        assert (status["state"], status["base_url"], status["pid"]) == ("ready", theirs.base_url, None)
        assert quick.processes() == [], "ours is stopped"
        plan = quick.succeed("plan", *remote)
        assert {change["action"] for change in plan["changes"]} == {"none"}, plan["changes"]


@pytest.mark.faults
@pytest.mark.timeout(240)
@pytest.mark.parametrize(
    ("point", "moments"),
    [
        pytest.param("journal", range(1, 60, 2), marks=pytest.mark.fault("killed-at-journal")),
        pytest.param("replace", range(2, 60, 2), marks=pytest.mark.fault("killed-at-write")),
    ],
)
def test_going_back_killed_anywhere_is_healed_by_the_next_up(
    quick: Fabric, tmp_path: Path, point: str, moments: range
) -> None:
    broken = f"file:{model_file(tmp_path)}"
    killed = 0
    for number in moments:
        quick.succeed("up", "--no-smoke")
        first = quick("up", "--no-smoke", "--model", broken, env={"STANDIN_KILL": f"{point}:{number}"})
        if first.returncode == 1:
            break
        assert first.returncode == -signal.SIGKILL, first.said
        killed += 1
        up = quick.succeed("up", "--no-smoke")
        serves_as_before(quick, up)
    else:
        pytest.fail("no run survived: there are more moments than were tried")
    assert killed >= 4, "there are moments before and after the way back"
    serves_as_before(quick, quick.succeed("up", "--no-smoke"))


def test_ctrl_c_while_the_new_server_is_awaited_is_healed_by_the_next_up(quick: Fabric, tmp_path: Path) -> None:
    quick.succeed("up", "--no-smoke")
    running = quick.start("up", "--no-smoke", "--model", f"file:{model_file(tmp_path)}")
    assert eventually(lambda: (quick.prefix / "current").resolve().name == "2")
    os.kill(running.child.pid, signal.SIGINT)
    assert running.finish().returncode in (1, 130)
    serves_as_before(quick, quick.succeed("up", "--no-smoke"))
