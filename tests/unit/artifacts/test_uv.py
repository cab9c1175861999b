"""What is asked of uv for an engine whose interpreter is not this one's."""

from __future__ import annotations

import hashlib
import re
import sys
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


def uv(tmp_path: Path, *, offline: bool = False, **more: str) -> Uv:
    env = {"HOME": str(tmp_path), "PATH": "", "PIP_CONFIG_FILE": "/dev/null", "UV_HTTP_RETRIES": "0", **more}
    staging = tmp_path / "staging"
    staging.mkdir()
    return Uv(env, read_local(env), staging / "uv", threading.Event(), offline=offline)


@pytest.mark.parametrize("python", ["3.8", None])
def test_a_wheel_is_looked_for_on_behalf_of_the_interpreter_that_it_is_for(
    tmp_path: Path, wheels: dict[str, Path], index: IndexServer, python: str | None
) -> None:
    asked = uv(tmp_path, PIP_INDEX_URL=index.index_url)
    assert asked.locate([pinned(wheels[OLD])], python) == {OLD: index.file_url(OLD)}
    with pytest.raises(UnreachableError, match="other"):
        asked.locate([Wheel("other", "1.0", "other-1.0-py3-none-any.whl", "0" * 64, 1)], python)


@pytest.mark.parametrize("python", ["3.10", "3.12", None])
def test_a_wheel_for_many_pythons_is_looked_for_on_behalf_of_the_one_that_there_is(
    tmp_path: Path, wheels: dict[str, Path], index: IndexServer, python: str | None
) -> None:
    asked = uv(tmp_path, PIP_INDEX_URL=index.index_url)
    assert asked.locate([pinned(wheels[STABLE])], python) == {STABLE: index.file_url(STABLE)}


NEWER = "many-1.0-cp311-abi3-manylinux_2_34_x86_64.whl"
OLDER = "many-1.0-cp311-abi3-manylinux_2_28_x86_64.whl"
MAC = "many-1.0-cp311-abi3-macosx_11_0_arm64.whl"
PURE = "many-1.0-py3-none-any.whl"
MANY = (NEWER, OLDER, MAC, PURE)


@pytest.fixture
def many(tmp_path: Path) -> dict[str, Path]:
    return {name: make(tmp_path, name, ">=3.10") for name in MANY}


@pytest.mark.parametrize("name", MANY)
def test_each_file_of_a_version_is_found_by_its_name(tmp_path: Path, many: dict[str, Path], name: str) -> None:
    with serving(many) as index:
        found = uv(tmp_path, PIP_INDEX_URL=index.index_url).locate([pinned(many[name])], "3.12")
        assert found == {name: index.file_url(name)}


def test_the_files_of_one_version_may_lie_in_several_indexes(tmp_path: Path, many: dict[str, Path]) -> None:
    with serving({PURE: many[PURE]}) as index, serving({NEWER: many[NEWER]}) as one, serving({MAC: many[MAC]}) as two:
        asked = uv(tmp_path, PIP_INDEX_URL=index.index_url, PIP_EXTRA_INDEX_URL=f"{one.index_url} {two.index_url}")
        found = asked.locate([pinned(many[name]) for name in (PURE, NEWER, MAC)], "3.12")
        assert found == {PURE: index.file_url(PURE), NEWER: one.file_url(NEWER), MAC: two.file_url(MAC)}
        with pytest.raises(UnreachableError, match=OLDER):
            asked.locate([pinned(many[OLDER])], "3.12")


def test_a_build_with_a_label_is_another_version(tmp_path: Path) -> None:
    """uv would weigh it for some platforms, and then take the files that are wanted for too few."""
    links = tmp_path / "links"
    links.mkdir()
    make(links, "one-1.0+cpu-cp311-cp311-manylinux_2_28_x86_64.whl", ">=3.10")
    wanted = [make(tmp_path, f"{name}-1.0-cp312-cp312-manylinux_2_28_x86_64.whl", ">=3.10") for name in ("one", "two")]
    other = make(tmp_path, "two-1.0-cp311-cp311-macosx_11_0_arm64.whl", ">=3.10")
    with serving({path.name: path for path in wanted}) as index, serving({other.name: other}) as extra:
        asked = uv(
            tmp_path,
            PIP_INDEX_URL=index.index_url,
            PIP_EXTRA_INDEX_URL=extra.index_url,
            PIP_FIND_LINKS=str(links),
        )
        found = asked.locate(list(map(pinned, wanted)), "3.12")
        assert found == {path.name: index.file_url(path.name) for path in wanted}


def test_an_interpreter_that_is_nowhere_is_named(tmp_path: Path) -> None:
    asked = uv(tmp_path, UV_PYTHON_INSTALL_MIRROR=NOBODY)
    with pytest.raises(UnreachableError, match=r"There is no Python 3\.8 here") as told:
        asked.make_environment(tmp_path / "environment", "3.8")
    assert "Install Python 3.8" in (told.value.hint or "")
    assert not (tmp_path / "environment").exists()


def test_an_interpreter_that_is_not_here_and_may_not_be_fetched_is_named_at_once(tmp_path: Path) -> None:
    here = uv(tmp_path, offline=True)
    here.check_python(None)
    here.check_python(f"{sys.version_info.major}.{sys.version_info.minor}")
    with pytest.raises(UnreachableError, match=r"no Python 3\.7 here") as caught:
        here.check_python("3.7")
    assert caught.value.exit_code == 69
    assert "Install Python 3.7" in (caught.value.hint or "")


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_that_wants_a_login_is_told(tmp_path: Path, wheels: dict[str, Path], scheme: str) -> None:
    with serving_files() as proxy:
        proxy.fallback = lambda _: failure(407)
        asked = uv(tmp_path, PIP_INDEX_URL=f"{scheme}://index.example/simple", PIP_PROXY=proxy.root)
        with pytest.raises(UnreachableError, match="the proxy wants a login") as told:
            asked.locate([pinned(wheels[STABLE])])
    assert "HTTPS_PROXY=http://user:password@" in (told.value.hint or "")


def test_the_index_that_is_asked_last_is_the_configured_one_else_that_of_uv(tmp_path: Path) -> None:
    assert uv(tmp_path, PIP_INDEX_URL=f"{NOBODY}/simple").default_index() == f"{NOBODY}/simple"
    (tmp_path / "other").mkdir()
    assert re.fullmatch(r"https://[a-z.]+/simple", uv(tmp_path / "other", PIP_EXTRA_INDEX_URL=NOBODY).default_index())
