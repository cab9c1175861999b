"""The command as a user runs it: a process of its own, with a home and a prefix of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.standin.command import Fabric

HOSTS = Path(__file__).parents[2] / "hosts"


@pytest.fixture
def fabric(tmp_path: Path) -> Fabric:
    """The command; ``home`` is where it runs, empty."""
    home = tmp_path / "home" / "alicex"
    home.mkdir(parents=True)
    return Fabric(home / ".local" / "share" / "fabric", home, "http://127.0.0.1:9/simple")
