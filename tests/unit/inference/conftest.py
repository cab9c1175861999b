"""A server that speaks both APIs, and the two packages side by side on it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import ollama
import pytest

from provision import inference
from tests.standin.ollama_archive import lay_out, real_ollama
from tests.standin.ollama_server import OllamaServer, serving_ollama
from tests.unit.engines.conftest import REAL, STAND_IN, Gguf, make_model, tiny_gguf, write_gguf

MODEL = "tiny"
NATIVE, TRANSLATED = "its own API", "OpenAI's API"


@pytest.fixture(scope="session", params=[STAND_IN, REAL])
def both_apis(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OllamaServer]:
    """The stand-in for Ollama, and the real one where it is, with one model."""
    place = tmp_path_factory.mktemp("ollama")
    real = real_ollama() if request.param == REAL else None
    named = os.environ.get("FABRIC_TEST_GGUF")
    if request.param == REAL and not (real and named):
        pytest.skip("no real Ollama and model: see FABRIC_TEST_OLLAMA and FABRIC_TEST_GGUF")
    file = Gguf(Path(named), "") if real and named else write_gguf(place / "tiny.gguf", tiny_gguf())
    with serving_ollama(lay_out(place / "release", real), place) as server, ollama.Client(server.base_url) as client:
        make_model(client, file, MODEL)
        yield server


@pytest.fixture
def official(both_apis: OllamaServer) -> Iterator[ollama.Client]:
    """The package of Ollama's own authors."""
    with ollama.Client(both_apis.base_url) as client:
        yield client


@dataclass(frozen=True)
class Ours:
    """Our client, and how it is made to talk to the server."""

    client: inference.Client
    way: str


@pytest.fixture(params=[NATIVE, TRANSLATED])
def ours(request: pytest.FixtureRequest, both_apis: OllamaServer) -> Iterator[Ours]:
    """Our client, on the server's own API and on OpenAI's."""
    path = "" if request.param == NATIVE else "/v1"
    with inference.Client(both_apis.base_url + path, backend="ollama", env={}) as client:
        yield Ours(client, request.param)
