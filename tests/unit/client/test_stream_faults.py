"""Streams as servers, proxies and networks deliver them, over a real connection."""

from __future__ import annotations

import time

import pytest

from provision.client import AnswerError, BrokenStreamError, ClientError, ConnectError, Delta, OpenAICompatibleClient
from provision.client.openai_compatible import LAST_BYTES_S
from tests.standin.chat_bytes import (
    CHUNKED_HEAD,
    DONE,
    LAST_CHUNK,
    chunk,
    chunked,
    completion,
    delta,
    event,
    head,
    says,
    whole,
)
from tests.standin.fault_server import Act, Answer, drip, faulty
from tests.unit.client.talking import HASTY, MODEL, complete, streamed, with_client

A, B, STOP = event(delta(content="Hé")), event(delta(content="llo")), event(delta("stop"))
HELLO = A + B + STOP + DONE
IN_A_LETTER = A.index("é".encode()) + 1
ERROR = event({"error": {"message": "out of memory"}})

WHOLE: dict[str, Answer] = {
    "chunked": [chunked(A, B, STOP, DONE)],
    "until the connection ends": [head(), HELLO, Act.FIN],
    "with its length": [head(Content_Length=str(len(HELLO))), HELLO],
    "slow first byte": [0.3, head(), 0.1, HELLO, Act.FIN],
    "slow pieces": [head(), A, 0.2, B, 0.2, STOP, 0.2, DONE, Act.FIN],
    "pings keep it awake": [head(), A, 0.3, b": ping\n\n", 0.3, b": ping\n\n", 0.3, B + STOP + DONE, Act.FIN],
    "cut in a letter": [head(), A[:IN_A_LETTER], 0.05, A[IN_A_LETTER:] + B + STOP, Act.FIN],
    "cut in an event": [head(), A + B[:20], 0.05, B[20:], 0.05, STOP[:-1], 0.05, STOP[-1:] + DONE, Act.FIN],
    "cut in chunks": [
        CHUNKED_HEAD,
        chunk(A[:9]),
        chunk(A[9:] + B),
        chunk(STOP + DONE)[:30],
        0.05,
        chunk(STOP + DONE)[30:],
        LAST_CHUNK,
    ],
    "two events in one packet": [head(), A + B, 0.05, STOP + DONE, Act.FIN],
    "all with the head": [head() + HELLO, Act.FIN],
    "one byte at a time": [head(), *drip(HELLO.replace(b"\n", b"\r\n")), Act.FIN],
    "CR": [head(), HELLO.replace(b"\n", b"\r"), Act.FIN],
    "a byte order mark": [head(), b"\xef\xbb\xbf" + HELLO, Act.FIN],
    "text/plain": [head("text/plain"), HELLO, Act.FIN],
    "no content type": [b"HTTP/1.1 200 OK\r\n\r\n" + HELLO, Act.FIN],
    "application/octet-stream": [head("application/octet-stream"), HELLO, Act.FIN],
    "called JSON": [head("application/json"), HELLO, Act.FIN],
    "called HTML": [head("text/html"), HELLO, Act.FIN],
    "a parameter": [head("Text/Event-Stream; charset=utf-8"), HELLO, Act.FIN],
    "no [DONE]": [head(), A + B + STOP, Act.FIN],
    "no [DONE], and a reset": [head(), A + B + STOP, 0.1, Act.RESET],
    "no finish_reason": [head(), A + B + DONE, Act.FIN],
    "held open after [DONE]": [head(), HELLO, Act.HOLD],
    "no last chunk": [CHUNKED_HEAD, chunk(HELLO), 0.1, Act.FIN],
    "a whole completion": [whole(completion("Héllo"))],
    "a whole completion, called text": [whole(completion("Héllo"), content_type="text/plain")],
    "a whole completion, called a stream": [whole(completion("Héllo"), content_type="text/event-stream")],
    "a whole completion, one byte at a time": [
        head(),
        b" \n",
        *drip(whole(completion("Héllo")).partition(b"\r\n\r\n")[2]),
        Act.FIN,
    ],
    "HTTP/1.0": [b"HTTP/1.0 200 OK\r\nContent-Type: text/event-stream\r\n\r\n" + HELLO, Act.FIN],
    "more after [DONE]": [head(), HELLO + ERROR + b"\xff\xff", Act.FIN],
}


@pytest.mark.parametrize("answer", WHOLE.values(), ids=WHOLE)
def test_an_answer_is_whole_however_it_comes(answer: Answer) -> None:
    deltas: list[Delta] = []
    with faulty(answer) as server:
        found = streamed(server.base_url, deltas)
        assert len(server.requests) == 1
    assert found.content == "".join(delta.content for delta in deltas) == "Héllo"


BROKEN: dict[str, tuple[Answer, str]] = {
    "FIN in an event": ([head(), A, B[:-20], Act.FIN], "connection ended"),
    "FIN in a letter": ([head(), A, A[:IN_A_LETTER], Act.FIN], "connection ended"),
    "FIN between events": ([head(), A, Act.FIN], "connection ended"),
    "FIN in a chunk": ([CHUNKED_HEAD, chunk(A), 0.1, chunk(B)[:-20], Act.FIN], "ended too early"),
    "FIN between chunks": ([CHUNKED_HEAD, chunk(A), 0.1, Act.FIN], "ended too early"),
    "RST": ([CHUNKED_HEAD, chunk(A), 0.1, Act.RESET], "reset|ended"),
    "length too long": ([head(Content_Length="9999"), A, 0.1, Act.FIN], "ended too early"),
    "no chunk": ([CHUNKED_HEAD, chunk(A), 0.1, b"zzz\r\nno", Act.HOLD], "ended too early"),
    "silence": ([head(), A, Act.HOLD], "silent"),
    "an error": ([head(), A, ERROR, Act.FIN], "out of memory"),
    "an error, at once": ([head() + A + ERROR, Act.HOLD], "out of memory"),
    "an event named error": ([head(), A + event({"message": "out of memory"}, "error"), Act.FIN], "out of memory"),
}


@pytest.mark.parametrize(("answer", "why"), BROKEN.values(), ids=BROKEN)
def test_an_answer_that_breaks_off_gives_what_had_come(answer: Answer, why: str) -> None:
    deltas: list[Delta] = []
    began = time.monotonic()
    with faulty(answer) as server, pytest.raises(BrokenStreamError, match=why) as caught:
        streamed(server.base_url, deltas)
    assert time.monotonic() - began < 5
    assert len(server.requests) == 1  # half an answer is never asked for again
    assert caught.value.text == "".join(delta.content for delta in deltas) == "Hé"
    assert server.base_url in caught.value.message
    assert caught.value.exit_code == 1


NONE_AT_ALL: dict[str, tuple[Answer, type[ClientError], str]] = {
    "HTML": ([whole(b"<h1>Welcome</h1>", content_type="text/html")], AnswerError, "Welcome"),
    "HTML, called a stream": ([whole(b"<h1>Welcome</h1>", content_type="text/event-stream")], AnswerError, "Welcome"),
    "words": ([whole(b"Bad gateway", content_type="text/plain")], AnswerError, "Bad gateway"),
    "a problem with 200": (
        [whole({"detail": "out of memory"}, content_type="application/problem+json")],
        AnswerError,
        "out of memory",
    ),
    "an error as text": (
        [whole({"error": {"message": "out of memory"}}, content_type="text/plain")],
        BrokenStreamError,
        "gives no answer: it reports out of memory",
    ),
    "an error of vLLM's and [DONE]": (
        [head(), event({"object": "error", "message": "too long", "code": 400}), DONE, Act.FIN],
        BrokenStreamError,
        "gives no answer: it reports too long",
    ),
    "an error without words and [DONE]": ([head(), event({"error": {}}), DONE, Act.FIN], BrokenStreamError, "reports"),
    "[DONE] alone": ([head(), DONE, Act.FIN], AnswerError, "there is no choice in it"),
    "JSON of another kind": ([whole({"models": []})], AnswerError, "no choice"),
    "no JSON": ([whole(b"{")], AnswerError, "truncated"),
    "an error with 200": ([whole({"error": {"message": "out of memory"}})], ClientError, "out of memory"),
    "an empty body": ([whole(b"")], BrokenStreamError, "gives no answer: the connection ended"),
    "an empty stream": ([head(), Act.FIN], BrokenStreamError, "connection ended"),
    "an empty stream with [DONE]": ([head(), ERROR, DONE, Act.FIN], BrokenStreamError, "out of memory"),
    "FIN": ([Act.FIN], ConnectError, "without an answer"),
    "RST": ([Act.RESET], ConnectError, "(?i)reset|without an answer"),
    "half a head": ([b"HTTP/1.1 200 OK\r\nContent-", Act.FIN], ConnectError, "without an answer"),
    "silence": ([Act.HOLD], ConnectError, r"no answer within 0\.5 s"),
    "no HTTP": ([b"SSH-2.0-\x1b[31mOpenSSH\r\n\r\n", Act.FIN], ConnectError, "no HTTP"),
    "a body cut short": (
        [head("application/json", Content_Length="99"), b"{", 0.1, Act.FIN],
        BrokenStreamError,
        "gives no answer: the connection ended too early",
    ),
}


@pytest.mark.parametrize(("answer", "kind", "why"), NONE_AT_ALL.values(), ids=NONE_AT_ALL)
@pytest.mark.parametrize("ask", [streamed, complete])
def test_what_is_no_answer_is_told_in_one_line(ask: object, answer: Answer, kind: type[ClientError], why: str) -> None:
    assert callable(ask)
    with faulty(answer) as server, pytest.raises(kind, match=why) as caught:
        ask(server.base_url)
    assert caught.value.message.isprintable()
    assert caught.value.hint
    assert caught.value.exit_code == (69 if kind is ConnectError else 1)


def test_what_had_come_does_not_wait_for_the_rest() -> None:
    """A server that says [DONE] and then nothing keeps nobody waiting for the text before it."""

    async def ask(client: OpenAICompatibleClient) -> int:
        return max([time.perf_counter_ns() - delta.at_ns async for delta in client.stream("Hello", MODEL)])

    with faulty([head() + HELLO, Act.HOLD]) as server:
        assert with_client(server.base_url, ask) < LAST_BYTES_S * 0.5e9
        assert server.client_left()


def test_a_long_line_arrives() -> None:
    text = "ä" * 3_000_000
    with faulty([head(), event(delta(content=text)) + STOP + DONE, Act.FIN]) as server:
        assert streamed(server.base_url).content == text


def test_patience_with_silence_is_with_each_silence_and_not_with_all() -> None:
    pieces = [step for _ in range(4) for step in (A, HASTY.silence_s * 0.6)]
    with faulty([head(), *pieces, STOP, Act.FIN]) as server:
        assert streamed(server.base_url).content == "Hé" * 4


def test_all_of_a_story_arrives() -> None:
    texts = [f"{number} " for number in range(2000)]
    with faulty([chunked(says(*texts), DONE)]) as server:
        assert streamed(server.base_url).content == "".join(texts)
