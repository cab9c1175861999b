"""Every command in the README is run, in order, by a newcomer with a fresh HOME."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from tests.e2e.checkout import ROOT, copy_checkout

TEST_COMMAND = "./bootstrap.sh test "  # this very run; inside itself it would never end


def blocks(language: str) -> list[str]:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", readme, flags=re.MULTILINE | re.DOTALL)


@pytest.mark.engine
@pytest.mark.timeout(600)
def test_every_command_works_as_written(tmp_path: Path) -> None:
    checkout, home = tmp_path / "fabric", tmp_path / "home"
    home.mkdir()
    copy_checkout(checkout)
    shell = [line for block in blocks("sh") for line in block.splitlines()]
    assert any(line.startswith(TEST_COMMAND) for line in shell), "the README's test command has changed"
    python = blocks("python")
    assert python, "the README shows no Python"
    for number, block in enumerate(python):
        (checkout / f"example{number}.py").write_text(block, encoding="utf-8")
    lines = [line for line in shell if not line.startswith(TEST_COMMAND)]
    after_openai = next(number for number, line in enumerate(lines) if "openai" in line) + 1
    lines[after_openai:after_openai] = [f"python example{number}.py" for number in range(len(python))]
    script = checkout / "readme.sh"
    script.write_text("set -eu\n" + "\n".join(lines) + "\n", encoding="utf-8")
    env = {
        name: value for name, value in os.environ.items() if not name.startswith(("FABRIC_", "VIRTUAL_ENV", "OPENAI"))
    }
    done = subprocess.run(
        ["sh", "-x", str(script)],  # noqa: S607
        cwd=checkout,
        env={**env, "HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
        timeout=550,
    )
    assert done.returncode == 0, f"{shlex.join(lines)}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    assert "base_url  http://127.0.0.1:" in done.stdout
    assert not (checkout / ".venv").exists()
    assert not list(home.rglob("*")), "something was left in HOME"


@pytest.mark.parametrize("block", blocks("yaml"))
def test_the_spec_in_the_readme_is_valid(block: str) -> None:
    from provision.plan.spec_file import parse_spec

    assert parse_spec(block.encode(), "README").model == "smollm2-135m"
