"""Ollama servers for tests: always the stand-in, and the real program where there is one."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import ollama
import pytest

from provision.domain.selection import Selection
from provision.engines.ollama_manifest import parse_manifest
from provision.engines.ollama_store import blob_path, manifest_path
from tests.standin.ollama_archive import lay_out, real_ollama
from tests.standin.ollama_registry import OllamaRegistry, serving_registry
from tests.standin.ollama_server import OllamaServer, serving_ollama
from tests.standin.selections import select_for_small_machine
from tests.unit.artifacts.gguf_file import KEYS, gguf, string, tensor

STAND_IN, REAL = "stand-in", "real"


@dataclass(frozen=True)
class Gguf:
    """A file that an engine can load, and its digest."""

    path: Path
    sha256: str

    @property
    def digest(self) -> str:
        return f"sha256:{self.sha256}"


def write_gguf(path: Path, data: bytes) -> Gguf:
    path.write_bytes(data)
    return Gguf(path, hashlib.sha256(data).hexdigest())


def tiny_gguf(architecture: str = "llama", name: str = "tiny") -> bytes:
    """A whole GGUF of a few kilobytes; other names give other digests."""
    keys = [string("general.architecture", architecture), string("general.name", name), *KEYS[1:]]
    return gguf(keys, [tensor("blk.0.attn_q.weight", [32, 32], 0, 0)])


def spoilt(models: Path, name: str) -> list[str]:
    """Return the blobs of a model in Ollama's directory that are not the bytes which their names promise."""
    blobs = parse_manifest(manifest_path(models, name).read_bytes()).blobs
    return [
        blob.sha256
        for blob in blobs
        if hashlib.sha256(blob_path(models, blob.sha256).read_bytes()).hexdigest() != blob.sha256
    ]


@pytest.fixture(scope="session", params=[STAND_IN, REAL])
def kind(request: pytest.FixtureRequest) -> str:
    """Which program: what is asked of the one is asked of the other."""
    if request.param == REAL and real_ollama() is None:
        pytest.skip("no real Ollama: none on PATH, and FABRIC_TEST_OLLAMA names none")
    return str(request.param)


@pytest.fixture(scope="session")
def program(kind: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program, laid out as a release is."""
    return lay_out(tmp_path_factory.mktemp("ollama") / "release", real_ollama() if kind == REAL else None)


@pytest.fixture(scope="session")
def standin_program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The stand-in, for what the real program does not do when it is asked to."""
    return lay_out(tmp_path_factory.mktemp("ollama") / "release")


Start = Callable[..., OllamaServer]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start a program on a directory of its own; it ends with the test."""
    with ExitStack() as stack:

        def started(program: Path, changes: Mapping[str, str] | None = None) -> OllamaServer:
            return stack.enter_context(serving_ollama(program, tmp_path, changes))

        yield started


@pytest.fixture
def server(program: Path, start: Start) -> OllamaServer:
    """A server without models."""
    return start(program)


@pytest.fixture
def standin(standin_program: Path, start: Start) -> OllamaServer:
    """A stand-in without models, for trouble on purpose."""
    return start(standin_program)


Connect = Callable[[OllamaServer], ollama.Client]


@pytest.fixture
def connect() -> Iterator[Connect]:
    """Ask a server with the client of Ollama's own authors."""
    with ExitStack() as stack:

        def connected(server: OllamaServer) -> ollama.Client:
            client = ollama.Client(server.base_url)
            stack.callback(client._client.close)
            return client

        yield connected


@pytest.fixture
def client(server: OllamaServer, connect: Connect) -> ollama.Client:
    return connect(server)


def make_model(client: ollama.Client, file: Gguf, name: str = "tiny") -> None:
    """Send a file and make a model of it."""
    digest = client.create_blob(file.path)
    assert digest == file.digest
    assert [step.status for step in client.create(name, files={"model.gguf": digest}, stream=True)][-1] == "success"


@pytest.fixture
def registry() -> Iterator[OllamaRegistry]:
    with serving_registry() as registry:
        yield registry


@pytest.fixture
def model_file(kind: str, tmp_path: Path) -> Gguf:
    """A model that the program can load: the real one, and llama.cpp behind the stand-in, need a real one."""
    named = os.environ.get("FABRIC_TEST_GGUF")
    if kind == STAND_IN and not named:
        return write_gguf(tmp_path / "tiny.gguf", tiny_gguf())
    if not named:
        pytest.skip("FABRIC_TEST_GGUF names no GGUF file for the real Ollama to load")
    return Gguf(Path(named), hashlib.sha256(Path(named).read_bytes()).hexdigest())


@pytest.fixture
def selection() -> Selection:
    """A selection to start servers for."""
    return select_for_small_machine()
