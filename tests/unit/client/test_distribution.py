"""The client alone: what is in its wheel, and what that needs."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
from collections.abc import Iterator
from email.parser import HeaderParser
from pathlib import Path
from zipfile import ZipFile

import pytest
from packaging.requirements import Requirement

from provision import __version__
from tests.standin.client_wheel import PROJECT, build_client_wheel

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ZipFile]:
    with ZipFile(build_client_wheel(tmp_path_factory.mktemp("wheel"))) as archive:
        yield archive


def metadata(wheel: ZipFile) -> dict[str, list[str]]:
    (name,) = (name for name in wheel.namelist() if name.endswith("/METADATA"))
    told = HeaderParser().parsestr(wheel.read(name).decode())
    return {key: told.get_all(key, []) for key in told}


def test_its_pins_are_those_of_fabric(wheel: ZipFile) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    told = metadata(wheel)
    needed = {Requirement(each) for each in told["Requires-Dist"]}
    assert needed <= {Requirement(each) for each in project["dependencies"]}
    assert {each.name for each in needed} == {"aiohttp", "msgspec", "pyyaml", "tenacity", "urllib3"}
    assert (told["Version"], told["Requires-Python"]) == ([__version__], [project["requires-python"]])


def test_it_has_the_client_and_nothing_of_installing_and_serving(wheel: ZipFile) -> None:
    names = set(wheel.namelist())
    rooms = ("client", "inference")
    own = {str(path.relative_to(ROOT)) for room in rooms for path in (ROOT / "provision" / room).rglob("*.py")}
    assert own <= names
    assert {"provision/py.typed", "provision/_data/profiles/routes.yaml"} <= names
    others = {name.split("/")[1] for name in names if name.startswith("provision/") and name.count("/") > 1}
    assert not others & {"cli", "apply", "serve", "observe", "engines", "facts", "artifacts", "plan"}
    assert sum(each.file_size for each in wheel.infolist()) < 1 << 20


def test_its_files_are_those_of_the_checkout(wheel: ZipFile) -> None:
    for name in wheel.namelist():
        if name.startswith("provision/"):
            assert wheel.read(name) == (ROOT / name.replace("provision/_data/", "")).read_bytes(), name


def test_no_module_of_it_imports_one_that_is_not_there(wheel: ZipFile) -> None:
    names = set(wheel.namelist())
    for name in sorted(names):
        if not name.endswith(".py"):
            continue
        for node in ast.walk(ast.parse(wheel.read(name))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("provision."):
                place = (node.module or "").replace(".", "/")
                assert {f"{place}.py", f"{place}/__init__.py"} & names, f"{name} imports {node.module}"


def refusal(project: Path, target: str, place: Path) -> str:
    """Why nothing can be built."""
    argv = [sys.executable, "-m", "hatchling", "build", "-t", target, "-d", str(place)]
    done = subprocess.run(argv, cwd=project, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    return done.stderr


def test_there_is_no_source_distribution_and_it_is_said_why(tmp_path: Path) -> None:
    assert "the client has no source distribution: build the wheel alone" in refusal(PROJECT, "sdist", tmp_path)
    assert list(tmp_path.iterdir()) == []


def copied(place: Path) -> Path:
    """A checkout as far as the client needs one."""
    for name in ("provision", "profiles", "packages"):
        shutil.copytree(ROOT / name, place / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", place)
    return place / "packages" / "client"


def test_a_library_that_nobody_asks_for_is_told_with_the_file(tmp_path: Path) -> None:
    project = copied(tmp_path)
    with (tmp_path / "provision" / "client" / "thinking.py").open("a", encoding="utf-8") as file:
        file.write("import httpx\n")
    said = refusal(project, "wheel", tmp_path / "dist")
    assert "client/thinking.py imports httpx, which is no dependency" in said
