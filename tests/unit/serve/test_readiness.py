"""Waiting for a server: what counts as ready, as progress, and as a failure, and how that is told."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from provision.domain.server import Observation, ServerState
from provision.domain.spec import Spec
from provision.host.endpoint import EndpointClient
from provision.host.layout import Layout
from provision.knowledge.models import load_catalog
from provision.observe.fingerprint import fingerprint
from provision.select.external import KnownModels, select_external
from provision.serve.observation import Server
from provision.serve.readiness import CannotGenerateError, wait_until_ready
from provision.serve.waiting import ServerFailedError, WaitLimits
from tests.standin.openai_server import OpenAIServer, Script, serving
from tests.standin.selections import select_for_small_machine

SHORT = WaitLimits(stall_s=0.5)
OUR_LOG = "what our own server said an hour ago"


def never(_: Observation) -> bool:
    return False


class Watched(Server):
    """A server of ours whose states are told; ``asked`` is what being asked makes it do."""

    def __init__(self, layout: Layout, states: Sequence[ServerState], asked: Callable[[], None]) -> None:
        super().__init__(layout, replace(select_for_small_machine(), port=1))
        self._states, self._asked = list(states), asked

    def observe(self) -> Observation:
        self._asked()
        return Observation(self._states.pop(0) if len(self._states) > 1 else self._states[0])


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    layout = Layout(tmp_path)
    layout.logs.mkdir()
    layout.server_log.write_text(f"{OUR_LOG}\n", encoding="utf-8")
    return layout


def add_line(layout: Layout) -> None:
    with layout.server_log.open("a", encoding="utf-8") as file:
        file.write("GET /health 503\n")


@contextmanager
def writing(layout: Layout) -> Iterator[None]:
    """A server that writes its log whether it is asked or not."""
    over = threading.Event()

    def write() -> None:
        while not over.wait(0.05):
            add_line(layout)

    thread = threading.Thread(target=write)
    thread.start()
    yield
    over.set()
    thread.join()


@pytest.mark.fault("server-not-ready")
def test_the_lines_of_our_own_questions_are_no_progress(layout: Layout) -> None:
    server = Watched(layout, [ServerState.LOADING], lambda: add_line(layout))
    with pytest.raises(ServerFailedError, match=r"made no progress for 0\.5 s"):
        wait_until_ready(server, "m", SHORT, never)


@pytest.mark.fault("server-not-ready")
@pytest.mark.timeout(30)
def test_a_wrong_answer_is_waited_out_only_so_long_whatever_the_server_writes(layout: Layout) -> None:
    server = Watched(layout, [ServerState.DEGRADED], lambda: None)
    with writing(layout), pytest.raises(ServerFailedError, match=r"made no progress for 0\.5 s"):
        wait_until_ready(server, "m", SHORT, never)


@pytest.mark.fault("server-not-ready")
def test_a_server_that_gets_on_is_waited_for(layout: Layout) -> None:
    began = time.monotonic()

    class Slow(Watched):
        def observe(self) -> Observation:
            loaded = time.monotonic() - began > 3.0
            return Observation(ServerState.READY if loaded else ServerState.LOADING)

    with writing(layout):
        wait_until_ready(Slow(layout, [], lambda: None), "m", SHORT, lambda _: True)
    assert time.monotonic() - began > 3.0


def remote(layout: Layout, base_url: str, model: str = "scripted") -> Server:
    spec, seen = Spec(backend="external", base_url=base_url, model=model), fingerprint(EndpointClient(base_url))
    return Server(layout, select_external(spec, base_url, seen, KnownModels(load_catalog(), lambda _: None)))


def why_not(layout: Layout, script: Script) -> ServerFailedError:
    with serving(script) as server, pytest.raises(ServerFailedError) as failed:
        wait_until_ready(remote(layout, server.base_url), script.model, SHORT, never)
    return failed.value


def error(message: str) -> str:
    return json.dumps({"error": {"message": message}})


@pytest.mark.fault("server-not-ready")
@pytest.mark.parametrize(
    ("status", "body", "told"),
    [
        (200, error("No models loaded"), "No models loaded"),
        (200, '{"object": "error", "message": "No models loaded"}', "No models loaded"),
        (200, '{"choices": []}', "choices"),
        (200, "<h1>It works</h1>", "It works"),
        (500, error("out of memory"), "out of memory"),
    ],
)
def test_an_answer_without_a_token_is_no_proof(layout: Layout, status: int, body: str, told: str) -> None:
    failed = why_not(layout, Script(answer=(status, body)))
    assert isinstance(failed, CannotGenerateError)
    assert told in failed.reason
    assert '{"error"' not in failed.message


def test_a_list_that_is_refused_is_told_in_the_words_of_who_refused_it(layout: Layout) -> None:
    script = Script()
    with serving(script) as server:
        known = remote(layout, server.base_url)
        script.models = (403, error("this key has expired"))
        with pytest.raises(ServerFailedError, match="/v1/models answers 403: this key has expired"):
            wait_until_ready(known, script.model, SHORT, never)


def test_what_our_own_server_said_is_no_word_of_somebody_elses(layout: Layout) -> None:
    failed = why_not(layout, Script(answer=(500, error("out of memory"))))
    assert OUR_LOG not in failed.message
    assert failed.hint
    assert "Somebody else runs it" in failed.hint


def test_what_a_server_says_cannot_steer_the_terminal(layout: Layout) -> None:
    failed = why_not(layout, Script(answer=(500, error("\x1b]0;pwned\x07\x1b[31mred"))))
    assert failed.message.isprintable()
    assert "red" in failed.message


def test_a_server_of_somebody_elses_that_hangs_up_is_told(layout: Layout) -> None:
    class HangsUp(Server):
        def client(self, timeout_s: float = 1.0) -> EndpointClient:
            return EndpointClient("http://127.0.0.1:9/v1", timeout_s=timeout_s)

        def observe(self) -> Observation:
            return Observation(ServerState.READY)

    with serving(Script()) as server:
        known = remote(layout, server.base_url)
    with pytest.raises(ServerFailedError, match=r"is up and does not answer: .*refused"):
        wait_until_ready(HangsUp(layout, known._selection), "scripted", SHORT, never)


@pytest.mark.timeout(30)
@pytest.mark.parametrize("timeout_s", [0.0, 0.5])
def test_a_first_token_of_somebody_elses_is_waited_for_no_longer_than_was_said(
    layout: Layout, timeout_s: float
) -> None:
    began = time.monotonic()
    with serving(Script(prompt_s=20)) as server, pytest.raises(ServerFailedError, match="does not answer: timed out"):
        wait_until_ready(remote(layout, server.base_url), "scripted", WaitLimits(timeout_s), never)
    assert time.monotonic() - began < 5


@pytest.mark.timeout(30)
@pytest.mark.parametrize(
    ("limits", "why"),
    [
        (WaitLimits(timeout_s=2.5, stall_s=0.3), r"was not ready within 2\.5 s"),
        (WaitLimits(stall_s=0.3), r"made no progress for 0\.3 s"),
    ],
)
def test_somebody_elses_that_is_loading_has_the_time_that_was_given(
    layout: Layout, limits: WaitLimits, why: str
) -> None:
    script = Script()
    with serving(script) as server:
        known = remote(layout, server.base_url)
        script.models = (503, error("Loading model"))
        with pytest.raises(ServerFailedError, match=why):
            wait_until_ready(known, script.model, limits, never)


@pytest.mark.parametrize("refused", [("max_tokens",), ("max_tokens", "temperature")])
def test_a_hosted_model_is_asked_in_its_own_words(layout: Layout, refused: tuple[str, ...]) -> None:
    with serving(Script(refuses=refused)) as server:
        wait_until_ready(remote(layout, server.base_url), "scripted", SHORT, never)
        assert_asked_anew(server)


def assert_asked_anew(server: OpenAIServer) -> None:
    first, second = server.chats
    assert "max_tokens" in first
    assert "max_tokens" not in second
    assert second["max_completion_tokens"] >= first["max_tokens"]
