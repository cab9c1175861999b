"""Our client of Ollama's API: what it asks for, and what it makes of everything that can go wrong."""

from __future__ import annotations

import hashlib
import socket
import threading
from pathlib import Path

import pytest

from provision.engines.ollama_answers import BadAnswerError
from provision.engines.ollama_api import OllamaApi, Patience, StreamLine
from provision.errors import (
    CannotCreateError,
    FabricError,
    InterruptedByUserError,
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
from tests.unit.engines.conftest import Gguf, Start, tiny_gguf, write_gguf

BIG = b"GGUF" + bytes(200_000)


def api_of(server: OllamaServer, patience: Patience | None = None) -> OllamaApi:
    return OllamaApi(server.client(), patience)


@pytest.fixture
def api(server: OllamaServer) -> OllamaApi:
    return api_of(server)


def create(api: OllamaApi, file: Gguf, name: str = "tiny") -> None:
    if not api.has_blob(file.sha256):
        api.push_blob(file.path, file.sha256)
    api.create(name, {file.path.name: file.sha256})


def test_the_version_is_told(api: OllamaApi) -> None:
    assert api.version().count(".") == 2


def test_a_new_server_has_and_runs_nothing(api: OllamaApi) -> None:
    assert api.models() == ()
    assert api.running() == ()


def test_a_pull_tells_every_step_and_the_model_is_there(api: OllamaApi, registry: OllamaRegistry) -> None:
    data = tiny_gguf()
    manifest = registry.add("tiny:1b", (MODEL, data), (PARAMS, b'{"num_ctx": 2048}\n'))
    name = registry.name("tiny:1b")
    lines: list[StreamLine] = []
    api.pull(name, lines.append)
    assert (lines[0].status, lines[-1].status) == ("pulling manifest", "success")
    whole = f"sha256:{hashlib.sha256(data).hexdigest()}"
    assert max(line.completed_bytes for line in lines if line.digest == whole) == len(data)
    (model,) = api.models()
    assert (model.name, model.digest) == (name, hashlib.sha256(manifest).hexdigest())
    assert model.size_bytes > len(data)
    assert model.details.format == "gguf"
    assert "num_ctx" in api.show(name).parameters
    assert api.show(name).facts["general.architecture"] == "llama"


def test_a_model_is_made_of_a_file_copied_and_deleted(api: OllamaApi, tmp_path: Path) -> None:
    file = write_gguf(tmp_path / "own.gguf", tiny_gguf())
    sent: list[int] = []
    assert not api.has_blob(file.sha256)
    api.push_blob(file.path, file.sha256, sent.append)
    assert sum(sent) == file.path.stat().st_size
    assert api.has_blob(file.sha256)
    api.create("own", {"own.gguf": file.sha256}, parameters={"num_ctx": 1024}, template="{{ .Prompt }}")
    api.copy("own", "other:v1")
    assert {model.name for model in api.models()} == {"own:latest", "other:v1"}
    assert api.show("other:v1").template == "{{ .Prompt }}"
    api.delete("own")
    assert [model.name for model in api.models()] == ["other:v1"]
    api.delete("other:v1")
    assert not api.has_blob(file.sha256)


def test_a_model_is_loaded_with_a_context_and_unloaded(api: OllamaApi, model_file: Gguf) -> None:
    create(api, model_file)
    api.load("tiny", keep_alive=-1, context=512)
    (running,) = api.running()
    assert (running.name, running.context_length) == ("tiny:latest", 512)
    assert running.expires_at
    api.unload("tiny")
    assert api.running() == ()
    api.unload("tiny")


def test_a_file_that_changed_since_it_was_hashed_is_refused(api: OllamaApi, tmp_path: Path) -> None:
    file = write_gguf(tmp_path / "own.gguf", tiny_gguf())
    file.path.write_bytes(tiny_gguf(name="changed"))
    with pytest.raises(RefusedError, match="digest mismatch"):
        api.push_blob(file.path, file.sha256)
    assert not api.has_blob(file.sha256)


def test_what_is_no_gguf_is_bad_input(api: OllamaApi, tmp_path: Path) -> None:
    file = write_gguf(tmp_path / "page.gguf", b"<html></html>")
    with pytest.raises(InvalidInputError, match="GGUF"):
        create(api, file)
    assert api.models() == ()


@pytest.mark.parametrize("act", ["show", "delete", "load", "unload"])
def test_a_model_that_is_not_there_is_wrong_usage(api: OllamaApi, act: str) -> None:
    with pytest.raises(UsageError, match="nothere"):
        getattr(api, act)("nothere")
    with pytest.raises(UsageError, match="nothere"):
        api.copy("nothere", "other")


@pytest.mark.parametrize("act", ["show", "delete", "load", "pull"])
def test_a_name_that_is_none_never_reaches_the_server(act: str) -> None:
    with pytest.raises(UsageError, match="no name"):
        getattr(OllamaApi(EndpointClient("http://127.0.0.1:1")), act)("../../etc/passwd")


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
    api: OllamaApi, registry: OllamaRegistry, server: OllamaServer
) -> None:
    data = tiny_gguf()
    registry.add("tiny", (MODEL, data))
    registry.flip = {f"sha256:{hashlib.sha256(data).hexdigest()}"}
    with pytest.raises(RefusedError, match="digest mismatch"):
        api.pull(registry.name("tiny"))
    assert api.models() == ()
    registry.flip = set()
    api.pull(registry.name("tiny"))
    assert len(api.models()) == 1


def test_a_registry_that_is_away_is_unreachable(api: OllamaApi) -> None:
    with pytest.raises(UnreachableError):
        api.pull(f"127.0.0.1:{free_port()}/library/tiny")


def test_a_server_that_is_away_is_unreachable() -> None:
    api = OllamaApi(EndpointClient(f"http://127.0.0.1:{free_port()}"))
    for act in (api.version, api.models, api.running, lambda: api.pull("x"), lambda: api.has_blob("0" * 64)):
        with pytest.raises(UnreachableError):
            act()


def test_another_program_at_the_address_is_told(tmp_path: Path) -> None:
    with serving(Script()) as other:
        api = OllamaApi(EndpointClient(other.base_url))
        for act in (api.version, lambda: api.pull("x")):
            with pytest.raises(BadAnswerError):
                act()


def test_a_host_header_that_the_server_does_not_know_is_refused(server: OllamaServer) -> None:
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(b"GET /api/version HTTP/1.0\r\nHost: rebound.example\r\n\r\n")
        assert b" 403 " in connection.recv(100)
    for host in ("localhost", "127.0.0.1"):
        assert OllamaApi(EndpointClient(f"http://{host}:{server.port}")).version()


# What follows is trouble that the real program does not make when it is asked to.


@pytest.mark.parametrize(
    ("name", "error", "text"),
    [
        ("odd-full", CannotCreateError, "no space left"),
        ("odd-error", UnreachableError, "max retries"),
        ("odd-newer", InvalidInputError, "newer version"),
        ("odd-nosuccess", UnreachableError, "ended after 'verifying sha256 digest'|ended after 'writing manifest'"),
    ],
)
def test_an_error_inside_a_good_answer_is_an_error(
    standin: OllamaServer, registry: OllamaRegistry, name: str, error: type[FabricError], text: str
) -> None:
    registry.add(name, (MODEL, tiny_gguf()))
    with pytest.raises(error, match=text):
        api_of(standin).pull(registry.name(name))
    assert api_of(standin).models() == ()


@pytest.mark.parametrize("name", ["odd-stall", "odd-silence"])
def test_a_pull_that_does_not_move_ends(standin: OllamaServer, registry: OllamaRegistry, name: str) -> None:
    registry.add(name, (MODEL, BIG))
    with pytest.raises(UnreachableError, match="Nothing has moved"):
        api_of(standin, Patience(idle_s=0.5, work_s=0.5)).pull(registry.name(name))


def test_a_connection_that_breaks_is_taken_up_where_it_was(standin: OllamaServer, registry: OllamaRegistry) -> None:
    registry.add("odd-cut", (MODEL, BIG))
    api_of(standin).pull(registry.name("odd-cut"))
    ranges = [headers["range"] for _, path, headers in registry.seen if path.startswith("/data") and "range" in headers]
    assert [int(text[6:].partition("-")[0]) for text in ranges][1] > 0
    assert len(api_of(standin).models()) == 1


def test_a_pull_is_stopped_and_taken_up_later(standin: OllamaServer, registry: OllamaRegistry) -> None:
    registry.add("tiny", (MODEL, BIG))
    registry.hold_after = 100_000
    stop, api = threading.Event(), api_of(standin)
    with pytest.raises(InterruptedByUserError):
        api.pull(registry.name("tiny"), lambda line: stop.set() if line.completed_bytes else None, stop)
    registry.released.set()
    assert api.models() == ()
    api.pull(registry.name("tiny"))
    assert len(api.models()) == 1


def test_a_transfer_that_the_registry_cuts_goes_on(standin: OllamaServer, registry: OllamaRegistry) -> None:
    registry.add("tiny", (MODEL, BIG))
    registry.cut_after, registry.cuts = 50_000, 2
    api_of(standin).pull(registry.name("tiny"))
    assert len(api_of(standin).models()) == 1


def test_a_busy_server_is_unreachable_for_now(standin: OllamaServer, tmp_path: Path) -> None:
    create(api_of(standin), write_gguf(tmp_path / "own.gguf", tiny_gguf()), "odd-busy")
    with pytest.raises(UnreachableError, match="server busy"):
        api_of(standin).load("odd-busy")


def test_an_architecture_that_nobody_knows_is_bad_input(standin: OllamaServer, tmp_path: Path) -> None:
    create(api_of(standin), write_gguf(tmp_path / "own.gguf", tiny_gguf("hyperbolic")))
    with pytest.raises(InvalidInputError, match="unknown model architecture: 'hyperbolic'"):
        api_of(standin).load("tiny")
    assert api_of(standin).running() == ()


def test_a_program_without_its_runner_is_not_whole(standin_program: Path, start: Start, tmp_path: Path) -> None:
    bare = tmp_path / "bare" / "bin" / "ollama"
    bare.parent.mkdir(parents=True)
    bare.write_bytes(standin_program.read_bytes())
    bare.chmod(0o755)
    api = api_of(start(bare))
    create(api, write_gguf(tmp_path / "own.gguf", tiny_gguf()))
    with pytest.raises(FabricError, match="llama-server binary not found") as caught:
        api.load("tiny")
    assert "not whole" in str(caught.value.hint)
