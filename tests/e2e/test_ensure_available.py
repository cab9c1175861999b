"""The server of ``fabric config`` is brought up by whoever needs it first."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from provision.client.availability import ensure_available
from provision.client.settings import from_environment, from_file
from provision.errors import UnreachableError
from tests.standin.command import Fabric

pytestmark = pytest.mark.engine

ENSURE = """
import json, sys
from provision.client.availability import ensure_available
from provision.client.settings import from_file
config = from_file(sys.argv[1])
print(json.dumps({"started": ensure_available(config, timeout_s=120).started, "base_url": config.base_url}))
"""


def wanting(fabric: Fabric, config: Path, runtime: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", ENSURE, str(config)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=fabric.environment({"XDG_RUNTIME_DIR": str(runtime)}),
        cwd=Path(__file__).parents[2],
    )


def outcome(process: subprocess.Popen[str]) -> Any:
    said, trouble = process.communicate(timeout=150)
    assert process.returncode == 0, trouble
    return json.loads(said)


@pytest.fixture
def runtime(tmp_path: Path) -> Path:
    path = tmp_path / "runtime"
    path.mkdir()
    return path


def test_two_who_need_it_at_once_bring_it_up_once(fabric: Fabric, tmp_path: Path, runtime: Path) -> None:
    up = fabric.succeed("up", "--no-smoke", "--port", "0")
    config = tmp_path / "client.json"
    config.write_text(fabric("config", "json").stdout, encoding="utf-8")
    fabric.succeed("down")
    found = [outcome(process) for process in [wanting(fabric, config, runtime) for _ in range(2)]]
    assert sorted(each["started"] for each in found) == [False, True]
    assert {each["base_url"] for each in found} == {up["base_url"]}
    status = fabric.succeed("status")
    assert (status["state"], status["restarts"], status["base_url"]) == ("ready", 0, up["base_url"])
    assert status["pid"] != up["pid"]
    assert list(runtime.iterdir()) == []

    assert outcome(wanting(fabric, config, runtime)) == {"started": False, "base_url": up["base_url"]}
    assert fabric.server_pid() == status["pid"]

    told = from_file(config)
    assert told.model == up["model"]
    env = {**dict(shell_variables(fabric)), "local_llm_ensure_available": "false"}
    fabric.succeed("down")
    with pytest.raises(UnreachableError) as refused:
        ensure_available(from_environment(env), env=fabric.environment())
    assert told.local_llm_start_cmd in (refused.value.hint or "")


def shell_variables(fabric: Fabric) -> list[tuple[str, str]]:
    """What ``eval "$(fabric config)"`` sets."""
    script = fabric("config").stdout + "env -0\n"
    printed = subprocess.run(["/bin/sh", "-c", script], capture_output=True, check=True, env={"PATH": "/usr/bin:/bin"})
    pairs = [line.partition("=") for line in printed.stdout.decode().split("\0") if line]
    return [(name, value) for name, _, value in pairs]
