"""A server that refuses: what is told, what is asked again, and for how long."""

from __future__ import annotations

import time
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from typing import Any

import pytest

from provision.client import (
    AnswerError,
    AuthenticationError,
    ClientError,
    NotFoundError,
    Patience,
    RateLimitError,
    StatusError,
    UnavailableError,
    body,
    reader,
)
from tests.standin.chat_bytes import DONE, chunked, head, refusal, says, whole
from tests.standin.fault_server import Act, Answer, faulty
from tests.unit.client.talking import HASTY, MODEL, complete, streamed, with_client

GOOD: Answer = [chunked(says("Hello"), DONE)]
HTML = b"<html><head><title>502</title></head><center><h1>Bad Gateway</h1></center><hr>nginx</html>"

REFUSALS: list[tuple[str, type[StatusError], str]] = [
    ("400 Bad Request", StatusError, "server-refused"),
    ("401 Unauthorized", AuthenticationError, "authentication"),
    ("403 Forbidden", AuthenticationError, "authentication"),
    ("404 Not Found", NotFoundError, "not-found"),
    ("422 Unprocessable", StatusError, "server-refused"),
    ("500 Internal Server Error", StatusError, "server-refused"),
    ("502 Bad Gateway", StatusError, "server-refused"),
    ("504 Gateway Timeout", StatusError, "server-refused"),
]


@pytest.mark.parametrize(("status", "kind", "code"), REFUSALS, ids=[status for status, _, _ in REFUSALS])
@pytest.mark.parametrize("ask", [streamed, complete])
def test_a_refusal_is_told_in_the_servers_words_and_not_asked_again(
    ask: Any, status: str, kind: type[StatusError], code: str
) -> None:
    with faulty([refusal(status, "no such thing")]) as server, pytest.raises(StatusError) as caught:
        ask(server.base_url)
    error = caught.value
    assert type(error) is kind
    assert (error.status, error.said, error.code, error.exit_code) == (int(status[:3]), "no such thing", code, 1)
    assert error.message == f"{server.base_url} answers {status[:3]}: no such thing"
    assert len(server.requests) == 1


FORMS: list[tuple[Any, str]] = [
    ({"error": {"message": "too long"}}, "too long"),
    ({"error": "too long"}, "too long"),
    ({"object": "error", "message": "too long", "code": 40303}, "too long"),
    ({"detail": "too long"}, "too long"),
    ({"detail": [{"loc": ["body", "model"], "msg": "missing"}]}, "missing"),
    (HTML, "502 Bad Gateway nginx"),
    (b"too\n\x1b[31mlong\x07", "too long"),
    (b"", "nothing"),
    (b"\xff\xfe" * 9, "\N{REPLACEMENT CHARACTER}"),
]


@pytest.mark.parametrize(("answer", "said"), FORMS)
def test_the_words_of_a_refusal_in_all_their_forms(answer: Any, said: str) -> None:
    with faulty([whole(answer, "502 Bad Gateway")]) as server, pytest.raises(StatusError) as caught:
        complete(server.base_url)
    assert said in caught.value.said
    assert caught.value.message.isprintable()


def test_a_huge_refusal_is_not_read_to_its_end() -> None:
    piece = b"no " * 100_000
    with faulty([head("text/plain", "500 no", Content_Length=str(10**12)), *[piece] * 1000]) as server:
        with pytest.raises(StatusError, match="no no no") as caught:
            complete(server.base_url)
        assert server.client_left()
    assert len(caught.value.message) < 300


@pytest.mark.parametrize("end", [Act.HOLD, Act.FIN, Act.RESET])
def test_a_refusal_that_breaks_off_is_one_still(end: Act) -> None:
    answer: Answer = [head("application/json", "500 no", Content_Length="99"), b'{"error": "out of', 0.05, end]
    with faulty(answer) as server, pytest.raises(StatusError, match="answers 500"):
        complete(server.base_url)


def test_an_answer_without_an_answer_is_a_refusal() -> None:
    with faulty([b"HTTP/1.1 204 No Content\r\n\r\n"]) as server, pytest.raises(StatusError, match="204: nothing"):
        complete(server.base_url)


BUSY = [refusal("503 Loading", "Loading model")]
LIMITED = [refusal("429 Slow down", "too many")]


@pytest.mark.parametrize("ask", [streamed, complete])
def test_a_server_that_loads_is_asked_again_until_it_has_loaded(ask: Any) -> None:
    with faulty(BUSY, BUSY, LIMITED, BUSY, GOOD) as server:
        assert ask(server.base_url).content == "Hello"
        assert len(server.requests) == 5
        assert len({request.body for request in server.requests}) == 1
        assert server.connections == 1


def now_plus(seconds: float) -> str:
    return format_datetime(datetime.now(timezone.utc) + timedelta(seconds=seconds), usegmt=True)


@pytest.mark.parametrize("answer", ["503 no", "429 no"])
@pytest.mark.parametrize(
    ("after", "least_s", "most_s"),
    [("1", 0.95, 1.9), ("date", 0.05, 1.9), ("past", 0.0, 0.9), ("0", 0.0, 0.9), ("-5", 0.0, 0.9), ("soon", 0.0, 0.9)],
)
def test_it_is_asked_again_when_it_says(answer: str, after: str, least_s: float, most_s: float) -> None:
    header = {"date": now_plus(1.5), "past": now_plus(-99)}.get(after, after)
    with faulty([refusal(answer, Retry_After=header)], GOOD) as server:
        began = time.monotonic()
        assert complete(server.base_url).content == "Hello"
        assert least_s <= time.monotonic() - began < most_s + 0.5


@pytest.mark.parametrize("after", ["3600", "9" * 400, "date"])
def test_nobody_waits_longer_than_there_is_patience(after: str) -> None:
    header = now_plus(10**6) if after == "date" else after
    with faulty([refusal("429 no", "come back tomorrow", Retry_After=header)]) as server:
        began = time.monotonic()
        with pytest.raises(RateLimitError, match="come back tomorrow") as caught:
            complete(server.base_url)
    assert time.monotonic() - began < HASTY.busy_s
    assert caught.value.retry_after_s is not None
    assert caught.value.retry_after_s > 3000
    assert len(server.requests) == 1


@pytest.mark.parametrize("after", [None, "0"])
def test_a_server_that_stays_busy_is_left_alone_in_the_end_and_not_besieged(after: str | None) -> None:
    impatient = Patience(busy_s=0.5, backoff_s=0.05, max_wait_s=0.1)
    header = {} if after is None else {"Retry_After": after}
    with faulty([refusal("503 Loading", "Loading model", **header)]) as server:
        began = time.monotonic()
        with pytest.raises(UnavailableError, match="Loading model") as caught:
            complete(server.base_url, patience=impatient)
    assert 0.3 < time.monotonic() - began < 3
    assert 3 < len(server.requests) < 40
    assert (caught.value.status, caught.value.exit_code, caught.value.code) == (503, 1, "unavailable")


KEY = "sk-secret-1234567890"


@pytest.mark.parametrize("status", ["401 no", "500 no"])
def test_a_key_that_the_server_repeats_is_not_told(status: str) -> None:
    answer = [refusal(status, "x" * 180 + f" Incorrect API key: {KEY}")]
    with faulty(answer) as server, pytest.raises(StatusError) as caught:
        complete(server.base_url, api_key=KEY)
    assert KEY[:6] not in repr(caught.value.__dict__) + str(caught.value)


def test_a_default_key_is_no_secret_and_hides_no_word() -> None:
    with faulty([refusal("404 no", "no model named harmless")]) as server, pytest.raises(StatusError) as caught:
        complete(server.base_url, default_key="harmless")
    assert caught.value.said == "no model named harmless"
    assert server.requests[0].headers["authorization"] == "Bearer harmless"


@pytest.mark.parametrize(
    ("method", "answer", "what"),
    [
        ("models", {"object": "list"}, "data"),
        ("embed", {"data": None}, "0 vectors for 1"),
        ("models", {"data": [{"name": "no id"}]}, "id"),
        ("models", "<html>", "malformed"),
        ("embed", {"data": []}, "0 vectors for 1"),
        ("embed", {"data": [{"embedding": "AAAA"}]}, "array"),
        ("embed", {"error": "no embeddings here"}, "no embeddings here"),
    ],
)
def test_other_answers_that_are_none(method: str, answer: Any, what: str) -> None:
    said = answer.encode() if isinstance(answer, str) else answer
    arguments = ["Hello", MODEL] if method == "embed" else []
    with faulty([whole(said)]) as server, pytest.raises(ClientError, match=what) as caught:
        with_client(server.base_url, lambda client: getattr(client, method)(*arguments))
    assert caught.value.code == "not-an-answer"


def test_a_list_without_models_is_one_of_none() -> None:
    """As Ollama answers where it has none."""
    with faulty([whole({"object": "list", "data": None})]) as server:
        assert with_client(server.base_url, lambda client: client.models()) == []


def test_a_refusal_that_trickles_is_told_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body, "REFUSAL_S", 0.4)
    trickle = [step for _ in range(60) for step in (b"no ", 0.1)]
    with faulty([head("text/plain", "500 no", Content_Length="999"), *trickle]) as server:
        began = time.monotonic()
        with pytest.raises(StatusError, match="answers 500: no no"):
            complete(server.base_url)
        assert time.monotonic() - began < 3
        assert server.client_left()


@pytest.mark.parametrize("method", ["models", "complete"])
def test_an_answer_without_an_end_is_not_read_to_it(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body, "MAX_ANSWER_BYTES", 1 << 20)
    monkeypatch.setattr(reader, "MAX_ANSWER_BYTES", 1 << 20)
    arguments = ["Hello", MODEL] if method == "complete" else []
    with faulty([head("application/json", Content_Length=str(10**12)), *[b"[" * 100_000] * 1000]) as server:
        with pytest.raises(AnswerError, match="more than 1 MiB"):
            with_client(server.base_url, lambda client: getattr(client, method)(*arguments))
        assert server.client_left()


def test_embeddings_and_models_as_they_are() -> None:
    vectors = {
        "data": [{"index": 1, "embedding": [3, 4.5]}, {"index": None, "embedding": [1, 2]}],
        "model": None,
        "usage": None,
    }
    listed = {
        "object": "list",
        "data": [{"id": "a", "created": None, "owned_by": None, "x": 1}, {"id": "b", "created": 7}],
    }
    with faulty([whole(vectors)], [whole(listed)]) as server:
        found = with_client(server.base_url, lambda client: client.embed(["a", "b"], MODEL))
        assert (found.vectors, found.model, found.usage) == (((1.0, 2.0), (3.0, 4.5)), MODEL, None)
        models = with_client(server.base_url, lambda client: client.models())
    assert [(model.id, model.created, model.owned_by) for model in models] == [("a", 0, ""), ("b", 7, "")]
    assert models[0].raw == listed["data"][0]
