"""Getting uv with a bare Python, from places as odd as pip allows."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from provision.artifacts import get_uv
from tests.standin.index_server import Fault, serving

PACKAGE = Path(get_uv.__file__).parent
PROGRAM = b"#!/bin/sh\necho uv 0.0.1\n"
WHEEL = "uv-0.0.1-py3-none-any.whl"


@dataclass(frozen=True)
class Setup:
    """A copy of the script with a pin of its own, the wheel that fits it, and where the program shall go."""

    script: Path
    wheel: Path
    target: Path

    def run(self, **env: str) -> subprocess.CompletedProcess[str]:
        """Run the script with a bare Python and nothing else in its environment."""
        base = {"PATH": os.environ["PATH"], "PIP_CONFIG_FILE": os.devnull}
        argv = [sys.executable, "-I", "-S", str(self.script), str(self.target)]
        return subprocess.run(argv, env={**base, **env}, capture_output=True, text=True, check=False, timeout=60)


@pytest.fixture
def setup(tmp_path: Path) -> Setup:
    wheel = tmp_path / "links" / WHEEL
    wheel.parent.mkdir()
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("uv-0.0.1.data/scripts/uv", PROGRAM)
        archive.writestr("uv-0.0.1.dist-info/METADATA", "Name: uv\n")
    package = tmp_path / "checkout" / "provision" / "artifacts"
    package.mkdir(parents=True)
    for name in ("get_uv.py", "pip_settings.py"):
        shutil.copy(PACKAGE / name, package / name)
    machine = {"arm64": "aarch64"}.get(platform.machine(), platform.machine())
    pin = {
        "system": platform.system(),
        "machine": machine,
        "filename": WHEEL,
        "sha256": hashlib.sha256(wheel.read_bytes()).hexdigest(),
    }
    (tmp_path / "checkout" / "profiles").mkdir()
    pins = tmp_path / "checkout" / "profiles" / "uv.json"
    pins.write_text(json.dumps({"version": "0.0.1", "wheels": [pin]}), encoding="utf-8")
    return Setup(package / "get_uv.py", wheel, tmp_path / "out" / "uv")


def assert_installed(setup: Setup, done: subprocess.CompletedProcess[str]) -> None:
    assert done.returncode == 0, done.stderr
    assert setup.target.read_bytes() == PROGRAM
    assert os.access(setup.target, os.X_OK)
    assert [path.name for path in setup.target.parent.iterdir()] == ["uv"], "something was left beside it"


def test_it_comes_from_an_index(setup: Setup) -> None:
    with serving({WHEEL: setup.wheel}) as index:
        assert_installed(setup, setup.run(PIP_INDEX_URL=index.index_url))


def test_it_comes_from_uvs_own_index_setting(setup: Setup) -> None:
    with serving({WHEEL: setup.wheel}) as index:
        assert_installed(setup, setup.run(UV_DEFAULT_INDEX=index.index_url))


def test_it_comes_from_a_folder_of_links(setup: Setup) -> None:
    assert_installed(setup, setup.run(PIP_FIND_LINKS=str(setup.wheel.parent)))


def test_it_comes_from_a_file_address(setup: Setup) -> None:
    assert_installed(setup, setup.run(PIP_FIND_LINKS=setup.wheel.parent.as_uri()))


def test_an_index_without_it_is_passed_over(setup: Setup, tmp_path: Path) -> None:
    with serving({WHEEL: setup.wheel}) as index:
        empty = (tmp_path / "no such index").as_uri()
        assert_installed(setup, setup.run(PIP_INDEX_URL=empty, PIP_EXTRA_INDEX_URL=index.index_url))


def test_an_altered_file_is_refused_with_both_hashes(setup: Setup) -> None:
    pinned = hashlib.sha256(setup.wheel.read_bytes()).hexdigest()
    with serving({WHEEL: setup.wheel}) as index:
        index.faults[WHEEL] = Fault(flip_at=50)
        done = setup.run(PIP_INDEX_URL=index.index_url)
    assert done.returncode == get_uv.REFUSED
    assert pinned in done.stderr
    assert "is not the pinned file" in done.stderr
    assert not setup.target.exists()


def test_without_any_index_it_says_so_by_its_status(setup: Setup) -> None:
    assert setup.run().returncode == get_uv.NO_INDEX_CONFIGURED


def test_a_dead_index_is_one_line(setup: Setup) -> None:
    done = setup.run(PIP_INDEX_URL="http://127.0.0.1:9/simple")
    assert done.returncode == get_uv.UNREACHABLE
    assert len(done.stderr.splitlines()) == 1
    assert "cannot fetch uv" in done.stderr


def test_a_password_in_the_address_is_sent_and_not_shown(setup: Setup) -> None:
    with serving({WHEEL: setup.wheel}) as index:
        address = index.index_url.replace("http://", "http://user:s3cret@")
        assert_installed(setup, setup.run(PIP_INDEX_URL=address))
        assert index.seen[0].headers["authorization"] == "Basic dXNlcjpzM2NyZXQ="
    done = setup.run(PIP_INDEX_URL="http://user:s3cret@127.0.0.1:9/simple")
    assert "s3cret" not in done.stderr


def test_pins_for_pip_name_every_platform() -> None:
    argv = [sys.executable, "-I", "-S", get_uv.__file__, "--requirements"]
    line = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    pins = json.loads((PACKAGE.parents[1] / "profiles" / "uv.json").read_text(encoding="utf-8"))
    assert line.split()[0] == f"uv=={pins['version']}"
    assert line.count("--hash=sha256:") == len(pins["wheels"])
