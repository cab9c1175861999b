"""A server that speaks Ollama's own API, byte by byte: what it is sent, and what goes wrong with its answers."""

from __future__ import annotations

import json
from typing import Any

import pytest

from provision import inference
from tests.standin.chat_bytes import LAST_CHUNK, chunk, head, refusal, whole
from tests.standin.fault_server import Act, drip, faulty

HELLO = [{"role": "user", "content": "Say hello."}]
VERSION = [whole({"version": "0.32.15"})]
WORDS = ("<thi", "nk>a", "</think", "> wört")


def line(text: str, **more: Any) -> bytes:
    return (
        json.dumps({"model": "m", "message": {"role": "assistant", "content": text}, "done": False, **more}).encode()
        + b"\n"
    )


def lines(*pieces: bytes, ended: bool = True) -> list[bytes]:
    begun = head("application/x-ndjson", Transfer_Encoding="chunked")
    return [begun, *map(chunk, pieces), LAST_CHUNK if ended else b""]


ANSWER = lines(*map(line, WORDS), line("", done=True, done_reason="stop", eval_count=4))


def client_of(root: str, **more: Any) -> inference.Client:
    return inference.Client(root, env={}, **more)


@pytest.mark.parametrize("slow", [False, True])
def test_lines_come_in_any_pieces_and_thinking_is_told_apart(slow: bool) -> None:
    answer = drip(b"".join(ANSWER)) if slow else [b"".join(ANSWER)]
    with faulty(VERSION, answer) as server, client_of(server.root) as client:
        parts = list(client.chat("m", HELLO, stream=True))
    assert "".join(part.message.content or "" for part in parts) == "wört"
    assert "".join(part.message.thinking or "" for part in parts) == "a"
    assert (parts[-1].done, parts[-1].done_reason, parts[-1].eval_count) == (True, "stop", 4)


def test_the_request_is_that_of_the_official_package() -> None:
    with faulty(VERSION, ANSWER) as server:
        client = client_of(server.root, headers={"authorization": "Bearer own", "X-More": "1"}, keep_alive="5m")
        with client:
            options = inference.Options(num_ctx=8, temperature=None)
            list(client.chat("m", HELLO, stream=True, think=True, options=options, format="json"))
        asked = server.requests[1]
    assert json.loads(asked.body) == {
        "model": "m",
        "messages": HELLO,
        "tools": [],
        "stream": True,
        "think": True,
        "options": {"num_ctx": 8},
        "format": "json",
        "keep_alive": "5m",
    }
    assert (asked.headers["authorization"], asked.headers["x-more"]) == ("Bearer own", "1")
    assert (asked.method, asked.path) == ("POST", "/api/chat")


def test_an_error_inside_a_stream_comes_after_what_was_good() -> None:
    answer = lines(line("Hel"), b'{"error": "out of memory"}\n')
    with faulty(VERSION, answer) as server, client_of(server.root) as client:
        stream = client.chat("m", HELLO, stream=True)
        assert next(stream).message.content == "Hel"
        with pytest.raises(inference.ResponseError, match="out of memory") as caught:
            next(stream)
    assert caught.value.status_code == -1


@pytest.mark.parametrize("end", [Act.FIN, Act.RESET])
def test_a_server_that_dies_in_the_middle_is_a_connection_error(end: Act) -> None:
    with faulty(VERSION, [*lines(line("Hel"), ended=False), 0.05, end]) as server, client_of(server.root) as client:
        stream = client.chat("m", HELLO, stream=True)
        assert next(stream).message.content == "Hel"
        with pytest.raises(ConnectionError):
            next(stream)


@pytest.mark.parametrize(
    ("words", "thinking", "text"),
    [(("Hel", "lo"), "", "Hello"), (("<th",), "", "<th"), (("<think>why</thi",), "why</thi", "")],
)
def test_a_stream_that_ends_before_its_last_piece_is_told_after_all_that_came(
    words: tuple[str, ...], thinking: str, text: str
) -> None:
    parts: list[inference.ChatResponse] = []
    broken = pytest.raises(inference.ResponseError, match="stopped in the middle")
    with faulty(VERSION, lines(*map(line, words))) as server, client_of(server.root) as client, broken:
        parts.extend(client.chat("m", HELLO, stream=True))  # extend keeps what came before the error
    assert "".join(part.message.content or "" for part in parts) == text
    assert "".join(part.message.thinking or "" for part in parts) == thinking
    assert {(part.model, part.done) for part in parts} == {("m", False)}


def test_what_is_held_back_of_an_answer_to_a_prompt_comes_too() -> None:
    parts: list[inference.GenerateResponse] = []
    answer = lines(b'{"model": "m", "response": "<thi", "done": false, "context": [1]}\n')
    broken = pytest.raises(inference.ResponseError, match="stopped in the middle")
    with faulty(VERSION, answer) as server, client_of(server.root) as client, broken:
        parts.extend(client.generate("m", "Hi", stream=True))
    assert [part.response for part in parts] == ["", "<thi"]


def test_a_model_that_was_pulled_is_no_broken_stream() -> None:
    steps = lines(b'{"status": "pulling manifest"}\n', b'{"status": "success"}\n')
    cut = lines(b'{"status": "pulling manifest"}\n')
    with faulty(VERSION, steps, cut) as server, client_of(server.root) as client:
        assert [step.status for step in client.pull("m", stream=True)] == ["pulling manifest", "success"]
        with pytest.raises(inference.ResponseError, match="stopped in the middle"):
            list(client.pull("m", stream=True))


def test_an_error_that_comes_as_a_good_answer_is_one() -> None:
    refused = pytest.raises(inference.ResponseError, match="boom")
    with faulty(VERSION, [whole({"error": "boom"})]) as server, client_of(server.root) as client, refused:
        client.chat("m", HELLO)


BAD = [
    ({"message": 5}, "ChatResponse: Message is not made of int"),
    ({"message": {"role": "assistant", "content": 5}}, "ChatResponse: Expected `str"),
    ({"message": {"role": "assistant", "thinking": [1]}}, "ChatResponse: Expected `str"),
    ({"done": True}, "ChatResponse: ChatResponse needs 'message'"),
]


@pytest.mark.parametrize(("document", "said"), BAD)
@pytest.mark.parametrize("stream", [False, True])
def test_a_document_that_is_no_answer_is_told(document: Any, said: str, stream: bool) -> None:
    answer = lines(json.dumps({**document, "done": True}).encode()) if stream else [whole(document)]
    refused = pytest.raises(inference.ResponseError, match=f"What the server sends is no {said}")
    with faulty(VERSION, answer) as server, client_of(server.root) as client, refused:
        list(client.chat("m", HELLO, stream=True)) if stream else client.chat("m", HELLO)


def test_a_list_that_is_none_is_told() -> None:
    refused = pytest.raises(inference.ResponseError, match="no ListResponse")
    with faulty(VERSION, [whole({"models": None})]) as server, client_of(server.root) as client, refused:
        client.list()


def test_what_is_no_document_is_told() -> None:
    for answer in ([whole(b"<html>Hi</html>")], lines(b"<html>Hi</html>\n")):
        refused = pytest.raises(inference.ResponseError, match=r"no JSON object: .*Hi")
        with faulty(VERSION, answer) as server, client_of(server.root) as client, refused:
            list(client.chat("m", HELLO, stream=True))


def test_leaving_a_stream_tells_the_server() -> None:
    with faulty(VERSION, [*lines(line("Hel"), ended=False), Act.HOLD]) as server, client_of(server.root) as client:
        for _ in client.chat("m", HELLO, stream=True):
            break
        assert server.client_left()


@pytest.mark.parametrize(
    "first",
    [
        [refusal("404 Not Found", "no")],
        [whole(b"<html></html>")],
        [whole({"error": "Unexpected endpoint"})],
        [whole([1])],
    ],
)
def test_a_server_without_a_version_is_asked_by_the_other_api(first: Any) -> None:
    listed = [whole({"object": "list", "data": [{"id": "m"}]})]
    with faulty(first, listed) as server, client_of(server.root) as client:
        assert [model.model for model in client.list().models] == ["m"]
        assert [request.path for request in server.requests] == ["/api/version", "/v1/models"]


def test_a_server_that_does_not_say_what_it_speaks_is_asked_again_next_time() -> None:
    answers = [refusal("401 Unauthorized", "a key")], VERSION, [whole({"models": []})]
    with faulty(*answers) as server, client_of(server.root) as client:
        with pytest.raises(inference.ResponseError, match="a key") as caught:
            client.list()
        assert caught.value.status_code == 401
        assert client.list().models == []


def test_a_server_that_cannot_be_asked_is_let_go() -> None:
    with faulty([refusal("401 Unauthorized", "a key"), Act.HOLD]) as server, client_of(server.root) as client:
        with pytest.raises(inference.ResponseError) as caught:
            client.list()
        assert server.client_left(1.0), "also while somebody holds the error"
    assert caught.value.status_code == 401
