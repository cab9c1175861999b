"""``bootstrap.sh`` as a newcomer meets it: on machines that have Python and uv in every combination.

A machine is a PATH of its own with links to the few programs that it shall have. ``./bootstrap.sh --help`` installs
everything and ends in the help of ``fabric up``.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.e2e.checkout import copy_checkout

TOOLS = ("sh", "dirname", "pwd", "cksum", "cat", "mkdir", "rm", "find", "env", "uname")
DEAD_INDEX = "http://127.0.0.1:9/simple"
HANDED_OVER = "Install, start and prove a local model server"
BARE_PYTHON = """#!/bin/sh
for argument do case $argument in -m) exec "{python}" -c 'import sys; sys.exit("No module named pip")';; esac; done
exec "{python}" "$@"
"""


@dataclass
class Newcomer:
    """A checkout, a home and a PATH."""

    checkout: Path
    home: Path
    path: Path
    variables: dict[str, str] = field(default_factory=dict)

    def has(self, name: str, program: str | None = None) -> None:
        """Put a program on the PATH."""
        found = program or shutil.which(name)
        if found:
            (self.path / name).symlink_to(found)

    def has_python_without_pip(self) -> None:
        """Put a Python on the PATH that knows no modules by ``-m``, as a minimal Debian has it."""
        script = self.path / "python3"
        script.write_text(BARE_PYTHON.format(python=real_python()), encoding="utf-8")
        script.chmod(0o755)

    def run(self, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
        """Run the bootstrap from an unrelated directory."""
        base = {"PATH": str(self.path), "HOME": str(self.home), **network_settings(), **self.variables, **env}
        return subprocess.run(
            [str(self.checkout / "bootstrap.sh"), *arguments],
            env={name: value for name, value in base.items() if value},
            cwd=self.home.parent,
            capture_output=True,
            text=True,
            check=False,
            timeout=280,
        )


def real_python() -> str:
    """Return the interpreter behind this environment."""
    return str(Path(sys.base_prefix, "bin", "python3").resolve())


def network_settings() -> dict[str, str]:
    """Return how this machine reaches its package index; HOME is another one, so files there do not count."""
    from provision.artifacts.pip_settings import read_local, uv_environment

    kept = {name: os.environ[name] for name in ("SSL_CERT_FILE", "HTTPS_PROXY", "NO_PROXY") if name in os.environ}
    return {**uv_environment(read_local(os.environ), os.environ), **kept}


@pytest.fixture
def newcomer(tmp_path: Path) -> Newcomer:
    made = Newcomer(tmp_path / "Jörg's check out", tmp_path / "home", tmp_path / "bin")
    for directory in (made.home, made.path):
        directory.mkdir()
    copy_checkout(made.checkout)
    for tool in TOOLS:
        made.has(tool)
    return made


def assert_handed_over(done: subprocess.CompletedProcess[str], newcomer: Newcomer) -> None:
    assert done.returncode == 0, done.stderr
    assert HANDED_OVER in done.stdout
    assert not list(newcomer.home.iterdir()), "something was written to HOME"


def test_a_python_with_pip_is_enough_and_the_second_run_needs_no_network(newcomer: Newcomer) -> None:
    newcomer.has("python3", real_python())
    first = newcomer.run("--help")
    assert_handed_over(first, newcomer)
    assert "getting uv with pip" in first.stderr
    before = {path: path.stat().st_mtime_ns for path in newcomer.checkout.rglob("*")}
    offline = {"PIP_INDEX_URL": DEAD_INDEX, "UV_DEFAULT_INDEX": DEAD_INDEX, "UV_FIND_LINKS": ""}
    second = newcomer.run("--help", **offline)
    assert_handed_over(second, newcomer)
    assert second.stderr == ""
    assert {path: path.stat().st_mtime_ns for path in newcomer.checkout.rglob("*")} == before
    gone = newcomer.run("uninstall")
    assert gone.returncode == 0, gone.stderr
    assert not (newcomer.checkout / ".venv").exists()
    assert not list(newcomer.checkout.rglob("__pycache__"))
    assert not list(newcomer.home.iterdir())


def test_a_python_without_pip_gets_uv_from_the_index(newcomer: Newcomer) -> None:
    newcomer.has_python_without_pip()
    listed = subprocess.run(
        [sys.executable, "-m", "uv", "pip", "compile", "-", "--emit-index-url", "--quiet"],
        input="",
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, **network_settings()},
    )
    index = next(line.split()[1] for line in listed.stdout.splitlines() if line.startswith("--index-url"))
    done = newcomer.run("--help", PIP_INDEX_URL=index)
    assert_handed_over(done, newcomer)
    assert "getting uv from the package index" in done.stderr


def test_uv_alone_is_enough_where_it_finds_an_interpreter(newcomer: Newcomer) -> None:
    newcomer.has("uv", str(Path(sys.executable).with_name("uv")))
    newcomer.has("python3.12" if sys.version_info[:2] == (3, 12) else "python3", real_python())
    done = newcomer.run("--help")
    assert_handed_over(done, newcomer)
    assert "getting uv" not in done.stderr


def test_nothing_at_all_is_one_line_that_says_what_to_install(newcomer: Newcomer) -> None:
    done = newcomer.run("--help")
    assert done.returncode == 69
    assert "install this and run again: " in done.stderr.splitlines()[-1]
    assert not list(newcomer.home.iterdir())


def test_an_interrupted_install_is_repaired_by_the_next_run(newcomer: Newcomer) -> None:
    newcomer.has("python3", real_python())
    broken = newcomer.run("--help", PIP_INDEX_URL=DEAD_INDEX, UV_DEFAULT_INDEX=DEAD_INDEX, PIP_RETRIES="0")
    assert broken.returncode == 69, broken.stderr
    assert broken.stderr.splitlines()[-1].startswith("bootstrap: pip could not get uv")
    assert_handed_over(newcomer.run("--help"), newcomer)


def test_an_environment_of_somebody_elses_is_left_alone(newcomer: Newcomer) -> None:
    newcomer.has("python3", real_python())
    theirs = newcomer.checkout / ".venv" / "bin" / "python"
    theirs.parent.mkdir(parents=True)
    theirs.touch()
    done = newcomer.run("--help")
    assert done.returncode == 77
    assert "was not made by this script" in done.stderr
    assert newcomer.run("uninstall").returncode == 0
    assert theirs.exists()
