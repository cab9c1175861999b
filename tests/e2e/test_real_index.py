"""What is pinned is where this machine looks for packages, and it is all that is needed. No wheel is fetched."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from uv import find_uv_bin

from provision import assets
from provision.artifacts.pip_settings import read_local, uv_environment, uv_flags
from provision.artifacts.uv_program import Uv
from provision.choosing import read_knowledge
from provision.domain.artifacts import Wheel
from provision.domain.engine import EngineRelease
from provision.domain.lock import every_wheel
from provision.engines.registry import ENGINES
from provision.errors import UnreachableError
from provision.knowledge.load import load
from provision.knowledge.wheel_sets import WheelSet, load_wheel_set
from tests.e2e.conftest import MODEL
from tests.e2e.wheel_cache import needing_index
from tests.standin.command import NOBODY
from tests.standin.index_server import serving

RELEASES = [each for engine in ENGINES.values() for each in engine.releases() if each.place == "index"]
SETS = sorted(path.stem for path in (assets.ROOT / "profiles" / "wheels").iterdir())


def locate(wheels: list[Wheel], python: str | None, place: Path) -> dict[str, str]:
    """Ask with the package settings of this machine; skip where the index does not answer."""
    uv = Uv(os.environ, read_local(os.environ), place / "staging" / "uv", threading.Event())
    (place / "staging").mkdir()
    with needing_index():
        return uv.locate(wheels, python)


@pytest.mark.parametrize("release", RELEASES, ids=lambda each: f"{each.source}-{each.system}-{each.arch}-{each.method}")
def test_every_pinned_file_has_an_address(release: EngineRelease, tmp_path: Path) -> None:
    (row,) = (row for row in read_knowledge().catalog.models if row.name == MODEL)
    model = row.model(release.engine)
    assert model is not None
    wheels = load_wheel_set(release.wheel_set) if release.wheel_set else release.wheels
    wanted = every_wheel(replace(release, wheels=wheels), model)
    assert locate(wanted, release.python, tmp_path).keys() == {wheel.filename for wheel in wanted}


def resolve(wanted: WheelSet, place: Path) -> set[str]:
    """Return ``project==version`` of all that the requirements of a set ask for, where its versions are given."""
    versions, excluded = place / "versions.txt", place / "excluded.txt"
    versions.write_text("".join(f"{line}\n" for line in pinned_versions(wanted)), encoding="utf-8")
    excluded.write_text("".join(f"{name}\n" for name in wanted.excluded), encoding="utf-8")
    settings = read_local(os.environ)
    platform = f"{wanted.arch}-manylinux_{wanted.glibc.replace('.', '_')}"
    argv = [find_uv_bin(), "pip", "compile", "-", "--quiet", "--no-header", "--no-annotate", "--only-binary", ":all:"]
    argv += ["--constraints", str(versions), "--excludes", str(excluded), "--cache-dir", str(place / "uv")]
    argv += [
        "--python",
        sys.executable,
        "--python-version",
        wanted.python,
        "--python-platform",
        platform,
        *uv_flags(settings),
    ]
    env = {**os.environ, **uv_environment(settings, os.environ), "UV_PYTHON_DOWNLOADS": "never"}
    asked = "".join(f"{line}\n" for line in wanted.requirements)
    done = subprocess.run(argv, input=asked, env=env, cwd=place, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise UnreachableError(done.stderr)
    return set(done.stdout.split("\n")) - {""}


def pinned_versions(of: WheelSet) -> set[str]:
    return {f"{re.sub('[-_.]+', '-', wheel.project).lower()}=={wheel.version}" for wheel in of.wheels}


@pytest.mark.parametrize("name", SETS)
def test_a_set_is_all_that_its_requirements_ask_for(name: str, tmp_path: Path) -> None:
    """Except for what it says is left out."""
    wanted: WheelSet = load(f"wheels/{name}", WheelSet)
    with needing_index():
        needed = resolve(wanted, tmp_path)
    assert needed == pinned_versions(wanted)


NOWHERE = Wheel("nowhere", "1.0", "nowhere-1.0-py3-none-any.whl", "0" * 64, 1)


def test_an_index_that_answers_and_lacks_a_file_is_no_reason_to_skip(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving({}) as index:
        monkeypatch.setenv("UV_DEFAULT_INDEX", index.index_url)
        with pytest.raises(UnreachableError, match="nowhere"):
            locate([NOWHERE], None, tmp_path)


def test_an_index_that_does_not_answer_is_a_reason_to_skip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UV_DEFAULT_INDEX", NOBODY)
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    with pytest.raises(pytest.skip.Exception, match="does not answer"):
        locate([NOWHERE], None, tmp_path)
