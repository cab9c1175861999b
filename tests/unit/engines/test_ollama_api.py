"""Our client of Ollama's API: what it asks for, and what it makes of everything that can go wrong."""

from __future__ import annotations

import hashlib
import socket
from pathlib import Path

import ollama  # noqa: TC002 - fixtures are found by it
import pytest

from provision.engines.ollama_answers import BadAnswerError, StreamLine
from provision.engines.ollama_api import OllamaApi
from provision.engines.ollama_progress import StallLimits
from provision.errors import (
    CannotCreateError,
    FabricError,
    InvalidInputError,
    RefusedError,
    UnreachableError,
    UsageError,
)
from provision.host.endpoint import EndpointClient
from tests.standin.command import free_port
from tests.standin.ollama_disk import MODEL, PARAMS
from tests.standin.ollama_registry import OllamaRegistry
from tests.standin.ollama_server import OllamaServer
from tests.standin.openai_server import Script, serving
from tests.unit.engines.conftest import Connect, tiny_gguf, write_gguf

BIG = b"GGUF" + bytes(200_000)


def api_of(server: OllamaServer, limits: StallLimits | None = None) -> OllamaApi:
    return OllamaApi(server.client(), limits)


@pytest.fixture
def api(server: OllamaServer) -> OllamaApi:
    return api_of(server)


def names(client: ollama.Client) -> list[str | None]:
    return [model.model for model in client.list().models]


def test_a_pull_tells_every_step_and_the_model_is_there(
    api: OllamaApi, client: ollama.Client, registry: OllamaRegistry
) -> None:
    data = tiny_gguf()
    manifest = registry.add("tiny:1b", (MODEL, data), (PARAMS, b'{"num_ctx": 2048}\n'))
    name = registry.name("tiny:1b")
    lines: list[StreamLine] = []
    api.pull(name, lines.append)
    assert (lines[0].status, lines[-1].status) == ("pulling manifest", "success")
    whole = f"sha256:{hashlib.sha256(data).hexdigest()}"
    assert max(line.completed_bytes for line in lines if line.digest == whole) == len(data)
    (model,) = client.list().models
    assert (model.model, model.digest) == (name, hashlib.sha256(manifest).hexdigest())
    assert "num_ctx" in (client.show(name).parameters or "")


def test_a_model_is_made_of_a_file(api: OllamaApi, client: ollama.Client, tmp_path: Path) -> None:
    file = write_gguf(tmp_path / "own.gguf", tiny_gguf())
    sent: list[int] = []
    assert not api.has_blob(file.sha256)
    api.push_blob(file.path, file.sha256, sent.append)
    assert sum(sent) == file.path.stat().st_size
    assert api.has_blob(file.sha256)
    statuses: list[str] = []
    api.create("own", file.sha256, lambda line: statuses.append(line.status))
    assert (statuses[0], statuses[-1]) == ("parsing GGUF", "success")
    assert names(client) == ["own:latest"]
    assert (client.show("own").modelinfo or {})["general.architecture"] == "llama"


def test_a_file_that_changed_since_it_was_hashed_is_refused(api: OllamaApi, tmp_path: Path) -> None:
    file = write_gguf(tmp_path / "own.gguf", tiny_gguf())
    file.path.write_bytes(tiny_gguf(name="changed"))
    with pytest.raises(RefusedError, match="digest mismatch"):
        api.push_blob(file.path, file.sha256)
    assert not api.has_blob(file.sha256)


def test_what_is_no_gguf_is_bad_input(api: OllamaApi, client: ollama.Client, tmp_path: Path) -> None:
    file = write_gguf(tmp_path / "page.gguf", b"<html></html>")
    api.push_blob(file.path, file.sha256)
    with pytest.raises(InvalidInputError, match="GGUF"):
        api.create("page", file.sha256)
    assert names(client) == []


def test_a_name_that_is_none_never_reaches_the_server() -> None:
    nowhere = OllamaApi(EndpointClient("http://127.0.0.1:1"))
    with pytest.raises(UsageError, match="no name"):
        nowhere.pull("../../etc/passwd")
    with pytest.raises(UsageError, match="no name"):
        nowhere.create("../../etc/passwd", "0" * 64)


def test_a_model_that_the_registry_lacks_is_wrong_usage(api: OllamaApi, registry: OllamaRegistry) -> None:
    with pytest.raises(UsageError, match="does not exist") as caught:
        api.pull(registry.name("nothere"))
    assert "tag" in str(caught.value.hint)


def test_a_registry_that_wants_a_login_is_refused(api: OllamaApi, registry: OllamaRegistry) -> None:
    registry.add("tiny", (MODEL, tiny_gguf()))
    registry.login, registry.token_good = "token", False
    with pytest.raises(RefusedError, match="unauthorized"):
        api.pull(registry.name("tiny"))


def test_a_model_for_a_newer_ollama_says_so(api: OllamaApi, registry: OllamaRegistry) -> None:
    registry.refuse = (412, "\n\nThe model you are attempting to pull requires a newer version of Ollama.\n\n")
    with pytest.raises(InvalidInputError, match="newer version"):
        api.pull(registry.name("tiny"))


def test_bytes_that_are_not_those_of_the_digest_are_refused(
    api: OllamaApi, client: ollama.Client, registry: OllamaRegistry
) -> None:
    data = tiny_gguf()
    registry.add("tiny", (MODEL, data))
    registry.flip = {f"sha256:{hashlib.sha256(data).hexdigest()}"}
    with pytest.raises(RefusedError, match="digest mismatch"):
        api.pull(registry.name("tiny"))
    assert names(client) == []
    registry.flip = set()
    api.pull(registry.name("tiny"))
    assert len(names(client)) == 1


def test_a_registry_that_is_away_is_unreachable(api: OllamaApi) -> None:
    with pytest.raises(UnreachableError):
        api.pull(f"127.0.0.1:{free_port()}/library/tiny")


def test_a_server_that_is_away_is_unreachable() -> None:
    api = OllamaApi(EndpointClient(f"http://127.0.0.1:{free_port()}"))
    for act in (lambda: api.pull("x"), lambda: api.has_blob("0" * 64), lambda: api.create("x", "0" * 64)):
        with pytest.raises(UnreachableError):
            act()


def test_another_program_at_the_address_is_told() -> None:
    with serving(Script()) as other:
        api = OllamaApi(EndpointClient(other.base_url))
        with pytest.raises(BadAnswerError):
            api.pull("x")


def test_a_host_header_that_the_server_does_not_know_is_refused(server: OllamaServer) -> None:
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(b"GET /api/version HTTP/1.0\r\nHost: rebound.example\r\n\r\n")
        assert b" 403 " in connection.recv(100)
    for host in ("localhost", "127.0.0.1"):
        assert not OllamaApi(EndpointClient(f"http://{host}:{server.port}")).has_blob("0" * 64)


# What follows is trouble that the real program does not make when it is asked to.


@pytest.mark.parametrize(
    "case",
    [
        ("odd-full", CannotCreateError, "no space left"),
        ("odd-error", UnreachableError, "max retries"),
        ("odd-newer", InvalidInputError, "newer version"),
        ("odd-nosuccess", UnreachableError, "ended after 'verifying sha256 digest'|ended after 'writing manifest'"),
    ],
)
def test_an_error_inside_a_good_answer_is_an_error(
    standin: OllamaServer, connect: Connect, registry: OllamaRegistry, case: tuple[str, type[FabricError], str]
) -> None:
    name, error, text = case
    registry.add(name, (MODEL, tiny_gguf()))
    with pytest.raises(error, match=text):
        api_of(standin).pull(registry.name(name))
    assert names(connect(standin)) == []


@pytest.mark.parametrize("name", ["odd-stall", "odd-silence"])
def test_a_pull_that_does_not_move_ends(standin: OllamaServer, registry: OllamaRegistry, name: str) -> None:
    registry.add(name, (MODEL, BIG))
    with pytest.raises(UnreachableError, match="Nothing has moved"):
        api_of(standin, StallLimits(idle_s=0.5, work_s=0.5)).pull(registry.name(name))


def test_a_connection_that_breaks_is_taken_up_where_it_was(
    standin: OllamaServer, registry: OllamaRegistry, connect: Connect
) -> None:
    registry.add("odd-cut", (MODEL, BIG))
    api_of(standin).pull(registry.name("odd-cut"))
    ranges = [headers["range"] for _, path, headers in registry.seen if path.startswith("/data") and "range" in headers]
    assert [int(text[6:].partition("-")[0]) for text in ranges][1] > 0
    assert len(names(connect(standin))) == 1


def test_a_pull_that_is_interrupted_is_taken_up_later(
    standin: OllamaServer, registry: OllamaRegistry, connect: Connect
) -> None:
    registry.add("tiny", (MODEL, BIG))
    registry.hold_after = 100_000

    def interrupt(line: StreamLine) -> None:
        if line.completed_bytes:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        api_of(standin).pull(registry.name("tiny"), interrupt)
    registry.released.set()
    assert names(connect(standin)) == []
    api_of(standin).pull(registry.name("tiny"))
    assert len(names(connect(standin))) == 1


def test_a_transfer_that_the_registry_cuts_goes_on(
    standin: OllamaServer, registry: OllamaRegistry, connect: Connect
) -> None:
    registry.add("tiny", (MODEL, BIG))
    registry.cut_after, registry.cuts = 50_000, 2
    api_of(standin).pull(registry.name("tiny"))
    assert len(names(connect(standin))) == 1
