from __future__ import annotations

import json
import time
from typing import Any

import pytest

from provision.domain.measure import SmokeCheck, SmokeReport
from provision.engines.registry import ENGINES
from provision.host import ports
from provision.host.endpoint import EndpointClient
from provision.observe import report, smoke
from tests.standin.openai_server import Script, serving

SERVES = ENGINES["llamacpp"].serves
NAMES = ["models", "chat", "stream", "json_schema"]


def run(script: Script, model: str = "scripted", timeout_s: float = 5.0) -> SmokeReport:
    with serving(script) as server:
        return smoke.run(EndpointClient(server.base_url), model, SERVES, timeout_s)


def failures(found: SmokeReport) -> dict[str, str]:
    return {check.name: check.detail for check in found.checks if not check.ok}


GOOD = {
    "plain": Script(),
    "chunks of several tokens": Script(tokens_per_chunk=3),
    "letters cut in two": Script(cut_in_two=True),
    "several events in a packet": Script(events_per_packet=4),
    "CRLF": Script(line_end="\r\n"),
    "no role first": Script(role_first=False),
    "only reasoning": Script(reasoning=99),
    "reasoning by its other name": Script(reasoning=99, reasoning_name="reasoning"),
    "an end of text": Script(stop=True),
    "no timings": Script(timings=False),
}


@pytest.mark.parametrize("script", GOOD.values(), ids=GOOD)
def test_a_good_server_passes(script: Script) -> None:
    found = run(script)
    assert failures(found) == {}
    assert found.ok
    assert [check.name for check in found.checks] == NAMES
    assert all(check.detail and check.duration_ms > 0 for check in found.checks)


def chat_answer(**changes: Any) -> tuple[int, str]:
    choice = {"index": 0, "message": {"role": "assistant", "content": "Hello."}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 3, "completion_tokens": 2}
    return 200, json.dumps({"choices": [choice], "usage": usage, **changes})


BAD = {
    "another model": (Script(model="other"), "models", "GET /v1/models: lists other, not scripted"),
    "no list of models": (Script(models=(200, "{}")), "models", "GET /v1/models: no list in 'data'"),
    "an empty list": (Script(models=(200, '{"data": []}')), "models", "lists nothing, not scripted"),
    "a key is wanted": (
        Script(models=(401, '{"error": {"message": "Invalid API Key"}}')),
        "models",
        "GET /v1/models: HTTP 401: Invalid API Key",
    ),
    "a web page": (Script(answer=(200, "<h1>It works</h1>")), "chat", "not a JSON object: It works"),
    "a web page for a stream": (Script(answer=(200, "<h1>It works</h1>")), "stream", "not an event stream: It works"),
    "an error with 200": (Script(answer=(200, '{"error": "boom"}')), "chat", "POST /v1/chat/completions: boom"),
    "no choices": (Script(answer=chat_answer(choices=[])), "chat", "no message in 'choices'"),
    "no message": (Script(answer=chat_answer(choices=[{}])), "chat", "no message in 'choices'"),
    "an empty message": (
        Script(answer=chat_answer(choices=[{"message": {"content": ""}, "finish_reason": "stop"}])),
        "chat",
        "the message is empty",
    ),
    "no finish reason": (
        Script(answer=chat_answer(choices=[{"message": {"content": "x"}, "finish_reason": None}])),
        "chat",
        "no finish_reason",
    ),
    "no usage": (Script(usage=False), "chat", "no usage"),
    "no usage in the stream": (Script(usage=False), "stream", "no usage"),
    "a count of nothing": (
        Script(answer=chat_answer(usage={"prompt_tokens": 0, "completion_tokens": 1})),
        "chat",
        "usage counts 0 prompt and 1 completion tokens",
    ),
    "no [DONE]": (Script(done=False), "stream", "did not end with [DONE]"),
    "no output": (Script(tokens=0), "stream", "no piece of output"),
    "an error on the way": (Script(error_after=3), "stream", "the server reported: out of memory"),
    "a lost connection": (Script(drop_after=3), "stream", "broke off after 3 pieces: IncompleteRead"),
    "an answer that is not JSON": (Script(schema_answer="Sure! Yes."), "json_schema", "is not JSON: 'Sure! Yes.'"),
    "an answer beside the schema": (Script(schema_answer='{"ok": "yes"}'), "json_schema", "does not fit the schema"),
    "more than the schema allows": (
        Script(schema_answer='{"ok": true, "why": 1}'),
        "json_schema",
        "does not fit the schema",
    ),
    "schemas refused": (
        Script(refuses=("response_format",)),
        "json_schema",
        "HTTP 400: no such thing: response_format",
    ),
    "still loading": (Script(load_s=60), "chat", "POST /v1/chat/completions: HTTP 503: Loading model"),
}


@pytest.mark.parametrize(("script", "name", "said"), BAD.values(), ids=BAD)
def test_what_failed_is_named_with_what_was_said(script: Script, name: str, said: str) -> None:
    found = run(script)
    assert not found.ok
    assert said in failures(found)[name]
    assert [check.name for check in found.checks] == NAMES


@pytest.mark.parametrize(
    ("script", "names"),
    [
        (Script(error_after=3), ["stream"]),
        (Script(schema_answer="{}"), ["json_schema"]),
        (Script(model="other"), ["models"]),
    ],
)
def test_one_bad_surface_does_not_spoil_the_others(script: Script, names: list[str]) -> None:
    assert list(failures(run(script))) == names


def test_an_answer_cut_short_is_said_to_be_so() -> None:
    choice = {"index": 0, "message": {"role": "assistant", "content": '{"ok"'}, "finish_reason": "length"}
    found = run(Script(answer=chat_answer(choices=[choice])))
    assert "no complete object within 512 tokens" in failures(found)["json_schema"]


def test_a_server_that_is_away_is_asked_once() -> None:
    client = EndpointClient(f"http://127.0.0.1:{ports.pick_free('127.0.0.1')}/v1")
    found = smoke.run(client, "scripted", SERVES)
    assert "refused" in found.checks[0].detail
    assert {check.detail for check in found.checks[1:]} == {"not asked, because models got no answer"}


def test_a_server_that_falls_silent_costs_one_timeout() -> None:
    began = time.monotonic()
    found = run(Script(answer=None, hang_after=2), timeout_s=0.3)
    assert time.monotonic() - began < 3
    assert "broke off after 2 pieces: silent for 0.3 s" in failures(found)["stream"]


def test_a_server_that_never_answers_a_chat_costs_one_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(smoke, "LIST_TIMEOUT_S", 0.3)
    began = time.monotonic()
    found = run(Script(hangs=True))
    assert time.monotonic() - began < 2
    assert [check.ok for check in found.checks] == [False] * 4
    assert "no answer" in found.checks[0].detail


def test_the_requests_are_small() -> None:
    with serving(Script()) as server:
        smoke.run(EndpointClient(server.base_url), "scripted", SERVES)
    assert [chat["max_tokens"] for chat in server.chats[:2]] == [8, 8]
    assert server.chats[2]["response_format"]["json_schema"]["schema"] == smoke.SCHEMA


def test_the_document_has_the_keys_of_the_contract() -> None:
    found = SmokeReport((SmokeCheck("models", True, "listed", 1.23456), SmokeCheck("chat", False, "HTTP 500", 2.0)))
    assert report.smoke_to_json(found) == {
        "ok": False,
        "checks": [
            {"name": "models", "ok": True, "detail": "listed", "duration_ms": 1.235},
            {"name": "chat", "ok": False, "detail": "HTTP 500", "duration_ms": 2.0},
        ],
    }
    assert [report.smoke_line(check) for check in found.checks] == [
        "ok   models: listed (1 ms)",
        "FAIL chat: HTTP 500 (2 ms)",
    ]


def test_no_checks_prove_nothing() -> None:
    assert not SmokeReport(()).ok
