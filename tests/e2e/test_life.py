"""From nothing to an answer and back, on the real engine and the real model."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.e2e.conftest import Served
from tests.e2e.traces import abandoned, below
from tests.standin.command import Fabric, eventually, free_port, processes_of

pytestmark = pytest.mark.engine

UP_KEYS = {
    "schema", "base_url", "model", "backend", "acceleration", "engine_version", "pid", "changed", "changes",
    "timings_s", "smoke",
}  # fmt: skip
TIMINGS = {"detect", "install", "pull", "start", "smoke", "total"}
CHANGE_KEYS = {"action", "resource", "reason", "download_bytes", "disk_bytes"}


def by_resource(document: Any) -> dict[str, str]:
    return {change["resource"]: change["action"] for change in document["changes"]}


def test_the_first_up_makes_everything_and_the_second_nothing(fabric: Fabric, home: Path) -> None:
    first = fabric.succeed("up")
    assert first["schema"] == "fabric.up/v1"
    assert first.keys() >= UP_KEYS
    assert first["timings_s"].keys() >= TIMINGS
    assert first["changed"] is True
    assert all(change.keys() >= CHANGE_KEYS for change in first["changes"])
    assert set(by_resource(first).values()) == {"create"}
    assert first["smoke"]["ok"] is True
    assert first["smoke"]["checks"]
    assert psutil.pid_exists(first["pid"])

    second = fabric.succeed("up")
    assert second["changed"] is False
    assert second["pid"] == first["pid"]
    assert second["base_url"] == first["base_url"]
    assert set(by_resource(second).values()) == {"none"}
    assert second["smoke"]["ok"] is True
    assert list(home.iterdir()) == [], "nothing outside the prefix"


def test_a_changed_option_plans_exactly_that_change(fabric: Fabric) -> None:
    first = fabric.succeed("up", "--no-smoke", "--context", "512")
    expected = {
        "engine/llamacpp": "none",
        "model/smollm2-135m": "none",
        "config/llamacpp": "update",
        "server/smollm2-135m": "restart",
    }
    for option, value, told in (
        ("--context", "1024", "context 512 → 1024"),
        ("--parallel", "2", "parallel 1 → 2"),
        ("--port", "0", None),
    ):
        keep = () if option == "--context" else ("--context", "512")
        plan = fabric.succeed("plan", *keep, option, value)
        if told is None:
            assert set(by_resource(plan).values()) == {"none"}, "the port was free to be chosen: it is kept"
        else:
            assert by_resource(plan) == expected
            assert [c["reason"] for c in plan["changes"] if c["resource"] == "config/llamacpp"] == [told]
    other = str(free_port())
    changed = fabric.succeed("up", "--no-smoke", "--context", "512", "--port", other)
    assert by_resource(changed) == expected
    assert changed["base_url"] == f"http://127.0.0.1:{other}/v1"
    assert changed["pid"] != first["pid"]
    assert not psutil.pid_exists(first["pid"])


def test_down_stops_and_keeps_and_is_idempotent_and_the_start_command_brings_it_back(fabric: Fabric) -> None:
    up = fabric.succeed("up", "--no-smoke")
    told = fabric.succeed("config", "json")
    config = json.loads(told["text"])
    assert fabric.succeed("down")["stopped"] is True
    assert not psutil.pid_exists(up["pid"])
    assert fabric.processes() == []
    assert fabric.succeed("down")["stopped"] is False
    status = fabric.succeed("status")
    assert (status["state"], status["pid"]) == ("stopped", None)
    assert by_resource(fabric.succeed("plan"))["server/smollm2-135m"] == "create"

    env = fabric.environment({"FABRIC_HOME": None, "PIP_INDEX_URL": "http://127.0.0.1:9/"})
    command = config["local_llm_start_cmd"]
    again = subprocess.run(["/bin/sh", "-c", command], env=env, cwd="/", capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    status = fabric.succeed("status")
    assert status["state"] == "ready"
    assert status["base_url"] == up["base_url"] == config["base_url"]


def snapshot(home: Path, temporary: Path) -> dict[str, set[str]]:
    """What a machine looks like from outside, as far as only this test changes it."""
    return {
        "home": below(home),
        "temporary files": below(temporary),
        "abandoned shared memory": abandoned(),
        "programs": {str(process.pid) for process in processes_of(home)},
    }


def in_use() -> set[int]:
    """The ports that somebody listens on."""
    return {c.laddr[1] for c in psutil.net_connections("tcp") if c.status == "LISTEN" and c.laddr}


def test_destroy_leaves_nothing_anywhere(fabric: Fabric, tmp_path: Path) -> None:
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    env = {"FABRIC_HOME": None, "TMPDIR": str(temporary)}
    before = snapshot(tmp_path, temporary)
    up = fabric.succeed("up", env=env)
    config = tmp_path / "client.env"
    fabric.succeed("config", "--write", str(config), env=env)
    assert config.exists()
    port = int(up["base_url"].split("/")[2].split(":")[1])
    assert port in in_use()
    removed = fabric("destroy", "--yes", env=env)
    assert removed.returncode == 0, removed.said
    assert port not in in_use()
    after = eventually(lambda: snapshot(tmp_path, temporary), until=lambda now: now == before, timeout_s=3)
    assert after == before
    again = fabric("destroy", "--yes", env=env)
    assert again.returncode == 0
    assert below(tmp_path) == before["home"]


def test_destroy_can_keep_the_models(fabric: Fabric) -> None:
    fabric.succeed("up", "--no-smoke")
    fabric.succeed("destroy", "--yes", "--keep-models")
    assert not (fabric.prefix / "engines").exists()
    plan = by_resource(fabric.succeed("plan"))
    assert plan["model/smollm2-135m"] == "none"
    assert plan["engine/llamacpp"] == "create"


def test_a_saved_plan_is_carried_out_exactly(fabric: Fabric, tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    wanted = ("--context", "1024", "--port", str(free_port()))
    plan = fabric("plan", *wanted, "--out", str(path), "--json", "--detailed-exitcode")
    assert plan.returncode == 2, plan.said
    applied = fabric.succeed("apply", str(path))
    assert by_resource(applied) == by_resource(plan.json)
    unchanged = fabric("plan", *wanted, "--json", "--detailed-exitcode")
    assert unchanged.returncode == 0, unchanged.said
    assert unchanged.json["fit"]["context_length"] == 1024


def test_a_plan_that_took_a_free_port_can_be_carried_out(fabric: Fabric, tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    plan = fabric.succeed("plan", "--port", "0", "--out", str(path))
    applied = fabric.succeed("apply", "--no-smoke", str(path))
    assert applied["base_url"] == plan["endpoint"]["base_url"]


OPENAI_PROGRAM = """
import os
import openai
client, model = openai.OpenAI(), os.environ["OPENAI_MODEL"]
ask = {"model": model, "messages": [{"role": "user", "content": "Say hello."}], "max_tokens": 8}
assert [entry.id for entry in client.models.list()] == [model]
answer = client.chat.completions.create(**ask)
assert answer.usage.completion_tokens > 0, answer
assert answer.choices[0].message.content, answer
pieces = list(client.chat.completions.create(**ask, stream=True, stream_options={"include_usage": True}))
assert pieces[-1].usage.completion_tokens > 0, pieces
assert any(piece.choices and piece.choices[0].delta.content for piece in pieces)
print("all answered")
"""


def test_after_eval_of_the_config_the_openai_package_just_works(served: Served, tmp_path: Path) -> None:
    pytest.importorskip("openai")
    script = tmp_path / "client.py"
    script.write_text(OPENAI_PROGRAM, encoding="utf-8")
    shell = f'eval "$("{sys.executable}" -m provision config)" && exec "{sys.executable}" "{script}"'
    done = subprocess.run(
        ["/bin/sh", "-euc", shell],
        env=served.fabric.environment(),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "all answered\n"
