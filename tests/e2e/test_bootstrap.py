"""``bootstrap.sh`` as a newcomer meets it: on machines that have Python and uv in every combination.

A machine is a PATH of its own with links to the few programs that it shall have. ``./bootstrap.sh --help`` installs
everything and ends in the help of ``fabric up``.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from tests.e2e.checkout import ROOT, copy_checkout
from tests.standin.index_server import Fault, serving

TOOLS = ("sh", "dirname", "cksum", "cat", "mkdir", "rm", "find", "env", "tr", "cut", "sed", "sleep", "ln", "readlink")
DEAD_INDEX = "http://127.0.0.1:9/simple"
OFFLINE = {"PIP_INDEX_URL": DEAD_INDEX, "UV_DEFAULT_INDEX": DEAD_INDEX, "UV_INDEX": "", "UV_FIND_LINKS": ""}
HANDED_OVER = "Install, start and prove a local model server"
BARE_PYTHON = """#!/bin/sh
PYTHONPATH="{blocked}" exec "{python}" -S "$@"
"""
PINS = json.loads((ROOT / "profiles" / "uv.json").read_text(encoding="utf-8"))
FETCHING, INSTALLING = "bootstrap: getting uv from the package index", "bootstrap: installing fabric"


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

    def has_python_without_pip(self, *, ensurepip: bool = False) -> None:
        """Put a Python on the PATH that has its standard library and no more; a minimal Debian has not even all."""
        blocked = self.home.with_name("blocked")
        blocked.mkdir()
        if not ensurepip:
            (blocked / "ensurepip.py").write_text("raise ImportError", encoding="utf-8")
        script = self.path / "python3"
        script.write_text(BARE_PYTHON.format(python=real_python(), blocked=blocked), encoding="utf-8")
        script.chmod(0o755)

    def start(self, *arguments: str, **env: str) -> subprocess.Popen[str]:
        """Start the bootstrap in an unrelated directory and a process group of its own."""
        base = {"PATH": str(self.path), "HOME": str(self.home), **network_settings(), **self.variables, **env}
        return subprocess.Popen(
            [str(self.checkout / "bootstrap.sh"), *arguments],
            env={name: value for name, value in base.items() if value},
            cwd=self.home.parent,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(self, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
        """Run the bootstrap to its end."""
        process = self.start(*arguments, **env)
        try:
            output, errors = process.communicate(timeout=280)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
        return subprocess.CompletedProcess(process.args, process.returncode, output, errors)


def real_python() -> str:
    """Return the interpreter behind this environment."""
    return str(Path(sys.base_prefix, "bin", "python3").resolve())


def network_settings() -> dict[str, str]:
    """Return how this machine reaches its package index; HOME is another one, so files there do not count."""
    from provision.artifacts.pip_settings import read_local, uv_environment

    kept = {name: os.environ[name] for name in ("SSL_CERT_FILE", "HTTPS_PROXY", "NO_PROXY") if name in os.environ}
    return {**kept, **uv_environment(read_local(os.environ), os.environ)}


def default_index() -> str:
    """Return the address of the index that this machine uses."""
    done = subprocess.run(
        [sys.executable, "-m", "uv", "pip", "compile", "-", "--emit-index-url", "--quiet"],
        input="",
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, **network_settings()},
    )
    return next(line.split()[1] for line in done.stdout.splitlines() if line.startswith("--index-url"))


@pytest.fixture
def newcomer(tmp_path: Path) -> Newcomer:
    made = Newcomer(tmp_path / "Jörg's check out", tmp_path / "home", tmp_path / "bin")
    for directory in (made.home, made.path):
        directory.mkdir()
    copy_checkout(made.checkout)
    for tool in TOOLS:
        made.has(tool)
    return made


def everything_below(folder: Path) -> dict[Path, int]:
    return {path: path.lstat().st_mtime_ns for path in folder.rglob("*")}


def alive_in(group: int) -> list[str]:
    """Return the programs of a process group that still run."""
    found = []
    for process in psutil.process_iter():
        with suppress(ProcessLookupError, psutil.NoSuchProcess):
            if os.getpgid(process.pid) == group and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process.name())
    return found


def assert_handed_over(done: subprocess.CompletedProcess[str], newcomer: Newcomer) -> None:
    assert done.returncode == 0, done.stderr
    assert HANDED_OVER in done.stdout
    assert not list(newcomer.home.iterdir()), "something was written to HOME"


def assert_one_line(done: subprocess.CompletedProcess[str], *parts: str) -> None:
    """Besides progress there is one line, and it holds all the parts."""
    lines = [line for line in done.stderr.splitlines() if not line.startswith(("bootstrap: getting", INSTALLING))]
    assert len(lines) == 1, done.stderr
    assert [part for part in parts if part not in lines[0]] == [], lines[0]


def test_a_python_with_pip_is_enough_and_the_second_run_needs_no_network(newcomer: Newcomer) -> None:
    newcomer.has("python3", real_python())
    first = newcomer.run("--help")
    assert_handed_over(first, newcomer)
    assert [line.split(" into")[0] for line in first.stderr.splitlines()] == [FETCHING, INSTALLING]
    before = everything_below(newcomer.checkout)
    second = newcomer.run("--help", **OFFLINE)
    assert_handed_over(second, newcomer)
    assert second.stderr == ""
    assert everything_below(newcomer.checkout) == before
    gone = newcomer.run("uninstall")
    assert gone.returncode == 0, gone.stderr
    assert not (newcomer.checkout / ".venv").exists()
    assert not list(newcomer.checkout.rglob("__pycache__"))
    assert not list(newcomer.home.iterdir())


def test_a_python_without_pip_gets_uv_from_the_index_of_a_pip_configuration_file(newcomer: Newcomer) -> None:
    newcomer.has_python_without_pip()
    configuration = newcomer.home.parent / "pip.conf"
    configuration.write_text(f"[global]\nindex-url = {default_index()}\n", encoding="utf-8")
    done = newcomer.run("--help", PIP_CONFIG_FILE=configuration.name, UV_DEFAULT_INDEX="")
    assert_handed_over(done, newcomer)
    assert FETCHING in done.stderr


def test_without_pip_and_without_a_named_index_it_says_what_to_install(newcomer: Newcomer) -> None:
    newcomer.has_python_without_pip()
    newcomer.has("apt-get", shutil.which("true"))
    nothing = dict.fromkeys(network_settings(), "")
    done = newcomer.run("--help", **nothing, PIP_CONFIG_FILE=os.devnull)
    assert done.returncode == 69
    assert_one_line(done, "no package index is named", "apt-get install python3-venv python3-pip")


def test_an_altered_uv_is_refused(newcomer: Newcomer, tmp_path: Path) -> None:
    newcomer.has_python_without_pip()
    wheels = {wheel["filename"]: tmp_path / wheel["filename"] for wheel in PINS["wheels"]}
    for path in wheels.values():
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(f"uv-{PINS['version']}.dist-info/METADATA", f"Name: uv\nVersion: {PINS['version']}\n")
            archive.writestr(f"uv-{PINS['version']}.data/scripts/uv", '#!/bin/sh\ntouch "$HOME/was-here"\n')
    found = hashlib.sha256(next(iter(wheels.values())).read_bytes()).hexdigest()
    with serving(wheels) as index:
        done = newcomer.run("--help", PIP_INDEX_URL=index.index_url, UV_DEFAULT_INDEX="")
    assert done.returncode == 77
    assert_one_line(done, "refused", found)
    assert any(wheel["sha256"] in done.stderr for wheel in PINS["wheels"])
    assert not list(newcomer.home.iterdir())


def test_a_python_with_venv_but_without_pip_uses_the_pip_that_venv_brings(newcomer: Newcomer) -> None:
    newcomer.has_python_without_pip(ensurepip=True)
    done = newcomer.run("--help", UV_DEFAULT_INDEX="")
    assert_handed_over(done, newcomer)
    assert FETCHING in done.stderr


def test_uv_alone_is_enough_where_it_finds_an_interpreter(newcomer: Newcomer) -> None:
    newcomer.has("uv", str(Path(sys.executable).with_name("uv")))
    newcomer.has(f"python3.{sys.version_info.minor}", real_python())
    done = newcomer.run("--help")
    assert_handed_over(done, newcomer)
    assert "getting uv" not in done.stderr


def test_uv_without_an_interpreter_and_a_network_is_one_line(newcomer: Newcomer) -> None:
    newcomer.has("uv", str(Path(sys.executable).with_name("uv")))
    done = newcomer.run("--help", UV_PYTHON_INSTALL_MIRROR="http://127.0.0.1:9", UV_HTTP_RETRIES="0")
    assert done.returncode == 69
    assert_one_line(done, "no Python 3.10+", "install Python 3.10 or newer")


@pytest.mark.parametrize("answer", ["exit 127", "echo uv 0.4.30"])
def test_a_uv_that_is_broken_or_too_old_is_passed_over(newcomer: Newcomer, answer: str) -> None:
    (newcomer.path / "uv").write_text(f"#!/bin/sh\n{answer}\n", encoding="utf-8")
    (newcomer.path / "uv").chmod(0o755)
    newcomer.has("python3", real_python())
    done = newcomer.run("--help", **OFFLINE)
    assert done.returncode == 69
    assert_one_line(done, "cannot fetch uv-", DEAD_INDEX)


def test_nothing_at_all_is_one_line_that_says_what_to_install(newcomer: Newcomer) -> None:
    done = newcomer.run("--help")
    assert done.returncode == 69
    assert_one_line(done, "install Python 3.10 or newer with pip, or uv")
    assert not list(newcomer.home.iterdir())


def test_without_home_nothing_is_written_elsewhere(newcomer: Newcomer) -> None:
    newcomer.has("python3", real_python())
    done = newcomer.run("--help", HOME="", TMPDIR=str(newcomer.home))
    assert_handed_over(done, newcomer)


def test_links_relative_to_where_the_user_stands_are_found(newcomer: Newcomer, tmp_path: Path) -> None:
    newcomer.has_python_without_pip()
    (tmp_path / "wheels").mkdir()
    for wheel in PINS["wheels"]:
        (tmp_path / "wheels" / wheel["filename"]).write_bytes(b"not this one")
    done = newcomer.run("--help", PIP_FIND_LINKS="gone wheels", UV_FIND_LINKS="")
    assert done.returncode == 77
    assert_one_line(done, hashlib.sha256(b"not this one").hexdigest())


def test_an_install_that_failed_is_repaired_by_the_next_run(newcomer: Newcomer) -> None:
    newcomer.has("uv", str(Path(sys.executable).with_name("uv")))
    newcomer.has("python3", real_python())
    broken = newcomer.run("--help", **OFFLINE, UV_HTTP_RETRIES="0")
    assert broken.returncode == 69, broken.stderr
    assert_one_line(broken, "fabric cannot be installed", DEAD_INDEX, "check the network")
    assert_handed_over(newcomer.run("--help"), newcomer)


def test_an_install_that_was_killed_is_repaired_by_the_next_run(newcomer: Newcomer) -> None:
    newcomer.has("uv", str(Path(sys.executable).with_name("uv")))
    newcomer.has("python3", real_python())
    process = newcomer.start("--help")
    packages = f".venv/lib/python3.{sys.version_info.minor}/site-packages/*"
    while process.poll() is None and len(list(newcomer.checkout.glob(packages))) < 5:
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert (newcomer.checkout / ".venv.lock").is_symlink(), "it was over too soon"
    assert_handed_over(newcomer.run("--help"), newcomer)
    assert not (newcomer.checkout / ".venv.lock").is_symlink()


def test_two_at_once_install_once(newcomer: Newcomer) -> None:
    newcomer.has("uv", str(Path(sys.executable).with_name("uv")))
    newcomer.has("python3", real_python())
    both = [newcomer.start("--help"), newcomer.start("--help")]
    answers = [process.communicate(timeout=200) for process in both]
    assert [process.returncode for process in both] == [0, 0], answers
    assert all(HANDED_OVER in output for output, _ in answers)
    assert sum(errors.count(INSTALLING) for _, errors in answers) == 1


def test_interrupting_leaves_no_lock_and_no_process(newcomer: Newcomer) -> None:
    newcomer.has("uv", str(Path(sys.executable).with_name("uv")))
    newcomer.has("python3", real_python())
    with serving({}) as index:
        index.faults["/simple"] = Fault(stall_after=0)
        process = newcomer.start("--help", PIP_INDEX_URL=index.index_url, UV_DEFAULT_INDEX="")
        while process.poll() is None and not index.seen:
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGINT)
        process.communicate(timeout=20)
    assert process.returncode == 130
    assert not (newcomer.checkout / ".venv.lock").is_symlink()
    deadline = time.monotonic() + 5
    while left := alive_in(process.pid):
        assert time.monotonic() < deadline, left
        time.sleep(0.05)


def test_what_the_tests_need_is_added_and_serves_the_next_plain_run(newcomer: Newcomer) -> None:
    newcomer.has("uv", str(Path(sys.executable).with_name("uv")))
    newcomer.has("python3", real_python())
    assert_handed_over(newcomer.run("--help"), newcomer)
    tests = newcomer.run("test", "--version")
    assert tests.returncode == 0, tests.stderr
    assert tests.stdout.startswith("pytest ")
    for arguments in (("--help",), ("test", "--version")):
        again = newcomer.run(*arguments, **OFFLINE)
        assert again.returncode == 0
        assert again.stderr == ""


def test_a_checkout_that_moved_is_installed_anew(newcomer: Newcomer) -> None:
    newcomer.has("uv", str(Path(sys.executable).with_name("uv")))
    newcomer.has("python3", real_python())
    assert_handed_over(newcomer.run("--help"), newcomer)
    newcomer.checkout = newcomer.checkout.rename(newcomer.checkout.with_name("elsewhere"))
    done = newcomer.run("--help")
    assert_handed_over(done, newcomer)
    assert INSTALLING in done.stderr


def test_an_environment_of_somebody_elses_is_left_alone(newcomer: Newcomer) -> None:
    newcomer.has("python3", real_python())
    theirs = newcomer.checkout / ".venv" / "bin" / "python"
    theirs.parent.mkdir(parents=True)
    theirs.touch()
    done = newcomer.run("--help")
    assert done.returncode == 77
    assert_one_line(done, "was not made by this script")
    assert newcomer.run("uninstall").returncode == 0
    assert theirs.exists()
