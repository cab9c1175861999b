"""Style, types, import rules and sizes: the checks that a reviewer should not have to make."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
MAX_FUNCTION_LINES = 60
FORBIDDEN_STEMS = {"utils", "helpers", "common", "manager"}


def tool(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    program = shutil.which(name, path=f"{BIN}{os.pathsep}{os.environ.get('PATH', '')}")
    assert program, f"{name} is not installed"
    return subprocess.run([program, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    "command",
    [
        ("ruff", "check", "--no-cache", "."),
        ("ruff", "format", "--no-cache", "--check", "."),
        ("mypy", "--no-incremental", "--cache-dir", os.devnull),
        ("lint-imports", "--no-cache"),
        ("shellcheck", "bootstrap.sh", ".ci/run"),
    ],
    ids=lambda command: " ".join(command[:2]),
)
def test_the_checker_is_silent(command: tuple[str, ...]) -> None:
    done = tool(*command)
    assert done.returncode == 0, done.stdout + done.stderr


def test_bootstrap_stays_under_100_lines_of_posix_sh() -> None:
    lines = (ROOT / "bootstrap.sh").read_text(encoding="utf-8").splitlines()
    assert lines[0] == "#!/bin/sh"
    assert len(lines) < 100


def sources() -> list[Path]:
    return sorted((ROOT / "provision").rglob("*.py"))


def test_functions_are_short_enough_to_read() -> None:
    long = []
    for path in sources():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                lines = (node.end_lineno or node.lineno) - node.lineno
                if lines > MAX_FUNCTION_LINES:
                    long.append(f"{path.relative_to(ROOT)}:{node.lineno} {node.name}: {lines} lines")
    assert not long


def test_no_module_is_a_drawer_for_everything() -> None:
    assert not [path for path in sources() if path.stem in FORBIDDEN_STEMS]


def test_only_host_opens_the_door_to_the_machine() -> None:
    """Programs, sockets and the network are reached through ``provision.host``; the exceptions say why."""
    doors = {"subprocess", "socket", "http", "urllib3", "fcntl", "psutil"}
    allowed = {
        "provision/serve/supervisor.py",  # is the process that starts and waits for the server
        "provision/engines/vllm_launcher.py",  # runs in the engine's interpreter, where there is no fabric
        "provision/artifacts/get_uv.py",  # runs before anything is installed, with a bare Python
    }
    guilty = []
    for path in sources():
        name = str(path.relative_to(ROOT))
        if name.startswith("provision/host/") or name in allowed:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            imported = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            imported += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            guilty += [f"{name}: {module}" for module in imported if module.partition(".")[0] in doors]
    assert not guilty
