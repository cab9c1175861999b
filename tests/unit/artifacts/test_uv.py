"""What is asked of uv for an engine whose interpreter is not this one's."""

from __future__ import annotations

import hashlib
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from provision.artifacts.pip_settings import read_local
from provision.artifacts.uv_program import Uv
from provision.domain.artifacts import Wheel
from provision.errors import UnreachableError
from tests.standin.command import NOBODY
from tests.standin.index_server import IndexServer, serving

NAME = "only_old-1.0-cp38-cp38-manylinux_2_17_x86_64.whl"
PLATFORM = "x86_64-manylinux_2_28"


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    path = tmp_path / NAME
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("only_old-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: only-old\nVersion: 1.0\n")
        archive.writestr("only_old-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: cp38-cp38-manylinux_2_17_x86_64\n")
    return path


@pytest.fixture
def index(wheel: Path) -> Iterator[IndexServer]:
    with serving({NAME: wheel}) as server:
        yield server


def uv(tmp_path: Path, **more: str) -> Uv:
    env = {"HOME": str(tmp_path), "PATH": "", "PIP_CONFIG_FILE": "/dev/null", "UV_HTTP_RETRIES": "0", **more}
    staging = tmp_path / "staging"
    staging.mkdir()
    return Uv(env, read_local(env), staging / "uv", threading.Event())


@pytest.mark.parametrize("python", ["3.8", None])
def test_a_wheel_is_looked_for_on_behalf_of_the_interpreter_that_it_is_for(
    tmp_path: Path, wheel: Path, index: IndexServer, python: str | None
) -> None:
    asked = uv(tmp_path, PIP_INDEX_URL=index.index_url)
    wanted = Wheel("only-old", "1.0", NAME, hashlib.sha256(wheel.read_bytes()).hexdigest(), wheel.stat().st_size)
    assert asked.locate([wanted], PLATFORM, python) == {NAME: index.file_url(NAME)}
    with pytest.raises(UnreachableError, match="other"):
        asked.locate([Wheel("other", "1.0", "other-1.0-py3-none-any.whl", "0" * 64, 1)], PLATFORM, python)


def test_an_interpreter_that_is_nowhere_is_named(tmp_path: Path) -> None:
    asked = uv(tmp_path, UV_PYTHON_INSTALL_MIRROR=NOBODY)
    with pytest.raises(UnreachableError, match=r"There is no Python 3\.8 here") as told:
        asked.make_environment(tmp_path / "environment", "3.8")
    assert "Install Python 3.8" in (told.value.hint or "")
    assert not (tmp_path / "environment").exists()
