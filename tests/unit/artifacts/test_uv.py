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
from tests.standin.artifact_server import failure
from tests.standin.artifact_server import serving as serving_files
from tests.standin.command import NOBODY
from tests.standin.index_server import IndexServer, serving

OLD = "only_old-1.0-cp38-cp38-manylinux_2_17_x86_64.whl"
STABLE = "stable_abi-1.0-cp39-abi3-manylinux_2_17_x86_64.whl"  # its project asks for a later Python than its tag
PLATFORM = "x86_64-manylinux_2_28"


def make(directory: Path, name: str, requires: str) -> Path:
    project, version, tag = name.removesuffix(".whl").split("-", 2)
    info, path = f"{project}-{version}.dist-info", directory / name
    about = f"Metadata-Version: 2.1\nName: {project}\nVersion: {version}\nRequires-Python: {requires}\n"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{info}/METADATA", about)
        archive.writestr(f"{info}/WHEEL", f"Wheel-Version: 1.0\nTag: {tag}\n")
    return path


@pytest.fixture
def wheels(tmp_path: Path) -> dict[str, Path]:
    return {OLD: make(tmp_path, OLD, ">=3.6"), STABLE: make(tmp_path, STABLE, ">=3.10")}


@pytest.fixture
def index(wheels: dict[str, Path]) -> Iterator[IndexServer]:
    with serving(wheels) as server:
        yield server


def pinned(path: Path) -> Wheel:
    project = path.name.partition("-")[0].replace("_", "-")
    return Wheel(project, "1.0", path.name, hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_size)


def uv(tmp_path: Path, **more: str) -> Uv:
    env = {"HOME": str(tmp_path), "PATH": "", "PIP_CONFIG_FILE": "/dev/null", "UV_HTTP_RETRIES": "0", **more}
    staging = tmp_path / "staging"
    staging.mkdir()
    return Uv(env, read_local(env), staging / "uv", threading.Event())


@pytest.mark.parametrize("python", ["3.8", None])
def test_a_wheel_is_looked_for_on_behalf_of_the_interpreter_that_it_is_for(
    tmp_path: Path, wheels: dict[str, Path], index: IndexServer, python: str | None
) -> None:
    asked = uv(tmp_path, PIP_INDEX_URL=index.index_url)
    assert asked.locate([pinned(wheels[OLD])], PLATFORM, python) == {OLD: index.file_url(OLD)}
    with pytest.raises(UnreachableError, match="other"):
        asked.locate([Wheel("other", "1.0", "other-1.0-py3-none-any.whl", "0" * 64, 1)], PLATFORM, python)


@pytest.mark.parametrize("python", ["3.10", "3.12", None])
def test_a_wheel_for_many_pythons_is_looked_for_on_behalf_of_the_one_that_there_is(
    tmp_path: Path, wheels: dict[str, Path], index: IndexServer, python: str | None
) -> None:
    asked = uv(tmp_path, PIP_INDEX_URL=index.index_url)
    assert asked.locate([pinned(wheels[STABLE])], PLATFORM, python) == {STABLE: index.file_url(STABLE)}


def test_an_interpreter_that_is_nowhere_is_named(tmp_path: Path) -> None:
    asked = uv(tmp_path, UV_PYTHON_INSTALL_MIRROR=NOBODY)
    with pytest.raises(UnreachableError, match=r"There is no Python 3\.8 here") as told:
        asked.make_environment(tmp_path / "environment", "3.8")
    assert "Install Python 3.8" in (told.value.hint or "")
    assert not (tmp_path / "environment").exists()


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_that_wants_a_login_is_told(tmp_path: Path, wheels: dict[str, Path], scheme: str) -> None:
    with serving_files() as proxy:
        proxy.fallback = lambda _: failure(407)
        asked = uv(tmp_path, PIP_INDEX_URL=f"{scheme}://index.example/simple", PIP_PROXY=proxy.root)
        with pytest.raises(UnreachableError, match="the proxy wants a login") as told:
            asked.locate([pinned(wheels[STABLE])], PLATFORM)
    assert "HTTPS_PROXY=http://user:password@" in (told.value.hint or "")
