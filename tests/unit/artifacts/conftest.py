"""Servers on loopback, and how they are reached."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from provision.artifacts.mirrors import Mirrors, choose_mirrors
from provision.host.transport import Transport
from tests.standin.artifact_server import ArtifactServer, serving
from tests.standin.hub_server import HubServer, serving_hub
from tests.unit.artifacts.fetching import Fetching


@pytest.fixture
def hub() -> Iterator[HubServer]:
    with serving_hub() as running:
        yield running


@pytest.fixture
def mirrors(hub: HubServer) -> Mirrors:
    """The sites of the user's own choice, so that tokens are for them."""
    env = {f"FABRIC_MIRROR_{name}": hub.root for name in ("HUGGINGFACE", "OLLAMA_REGISTRY", "GITHUB", "GITHUB_API")}
    return choose_mirrors({}, env)


@pytest.fixture
def transport() -> Transport:
    return Transport({})


@pytest.fixture
def server() -> Iterator[ArtifactServer]:
    with serving() as running:
        yield running


@pytest.fixture
def fetching(tmp_path: Path) -> Fetching:
    return Fetching(tmp_path)
