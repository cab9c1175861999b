"""Fixtures of the fault tests: those of the end-to-end tests, with a key whose every trace is told, and the oracle."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.conftest import home, llamacpp, other, prefix, releases, standin, standin_index
from tests.e2e.conftest import quick as quick_without_key
from tests.faults import tally
from tests.faults.oracle import CANARY, KEY_VARIABLE, Oracle
from tests.faults.table import faults
from tests.standin.command import Fabric
from tests.unit.engines.conftest import tiny_gguf

__all__ = ["home", "llamacpp", "other", "prefix", "quick_without_key", "releases", "standin", "standin_index"]


@pytest.fixture
def quick(quick_without_key: Fabric) -> Fabric:
    """The command with the stand-in engine and a key in its environment."""
    quick_without_key.variables[KEY_VARIABLE] = CANARY
    return quick_without_key


@pytest.fixture
def oracle(request: pytest.FixtureRequest, tmp_path: Path, quick: Fabric) -> Oracle:
    """What is asked after the faults that the test names; it watches all that lies in the test's directory."""
    exits = frozenset(code for name in tally.of(request.node) for code in faults()[name].exits)
    return Oracle(exits, tmp_path)


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    """A directory for another user; asked for before the oracle looks."""
    path = tmp_path / "theirs"
    path.mkdir()
    return path


@pytest.fixture
def failing_model(tmp_path: Path) -> Path:
    """A model that fabric takes, and on which the stand-in engine fails at once; asked for before the oracle looks."""
    path = tmp_path / "failing.gguf"
    path.write_bytes(tiny_gguf(name=path.name))
    path.with_name(f"{path.name}.refuse").touch()
    return path
