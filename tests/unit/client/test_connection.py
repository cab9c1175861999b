"""Kept connections, redirects, what is sent, and who must not see it."""

from __future__ import annotations

import asyncio
import json
import logging
import time
import traceback
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from provision.client import AnswerError, ClientError, ConnectError, OpenAICompatibleClient, StatusError, SyncClient
from provision.errors import RefusedError, UsageError
from tests.standin.chat_bytes import DONE, chunked, completion, delta, event, head, refusal, says, whole
from tests.standin.command import free_port
from tests.standin.fault_server import Act, Answer, faulty
from tests.unit.client.talking import MODEL, complete, gather, no_task_left, with_client

GOOD: Answer = [chunked(says("Hello"), DONE)]
WHOLE: Answer = [whole(completion("Hello"))]
KEY = "sk-secret-1234567890"


async def five(client: OpenAICompatibleClient) -> list[str]:
    answers = [await client.chat("Hello", MODEL) for _ in range(3)]
    for _ in range(2):
        stream = client.stream("Hello", MODEL)
        with no_task_left():
            await gather(stream, [])
        answers.append(stream.completion().content)
    return answers


@pytest.mark.parametrize(
    "answer", [GOOD, WHOLE, [chunked(says("Hello"))], [chunked(says("Hello"), DONE)[:-5], 0.05, b"0\r\n\r\n"]]
)
def test_one_connection_is_enough_for_one_request_after_another(answer: Answer) -> None:
    with faulty(answer) as server:
        assert with_client(server.base_url, five) == ["Hello"] * 5
        assert (len(server.requests), server.connections) == (5, 1)


def test_a_refusal_costs_no_connection() -> None:
    with faulty([refusal("503 no")], [refusal("429 no")], GOOD) as server:
        assert complete(server.base_url).content == "Hello"
        assert server.connections == 1


@pytest.mark.parametrize("end", [Act.FIN, Act.RESET])
@pytest.mark.parametrize("idle_s", [0.0, 0.1])
def test_a_kept_connection_that_has_been_closed_costs_no_answer(end: Act, idle_s: float) -> None:
    async def twice(client: OpenAICompatibleClient) -> list[str]:
        first = await client.chat("Hello", MODEL)
        await asyncio.sleep(idle_s)
        return [first, await client.chat("Hello", MODEL)]

    with faulty([*GOOD, 0.05, end], GOOD) as server:
        assert with_client(server.base_url, twice) == ["Hello", "Hello"]
        assert server.connections == 2


@pytest.mark.parametrize("end", [Act.FIN, Act.RESET])
def test_a_kept_connection_that_ends_with_the_request_is_tried_once_more(end: Act) -> None:
    async def twice(client: OpenAICompatibleClient) -> list[str]:
        return [await client.chat("Hello", MODEL), await client.chat("Hello", MODEL)]

    with faulty(GOOD, [end], GOOD) as server:
        assert with_client(server.base_url, twice) == ["Hello", "Hello"]
        assert (len(server.requests), server.connections) == (3, 2)


@pytest.mark.parametrize("end", [Act.FIN, Act.RESET])
def test_many_kept_connections_that_end_cost_no_answer(end: Act) -> None:
    async def many(client: OpenAICompatibleClient) -> str:
        await asyncio.gather(*(client.chat("Hello", MODEL) for _ in range(3)))
        return await client.chat("Hello", MODEL)

    slow: Answer = [0.2, *GOOD]
    with faulty(slow, slow, slow, [end], [end], [end], GOOD) as server:
        assert with_client(server.base_url, many) == "Hello"
        assert (len(server.requests), server.connections) == (7, 4)


@pytest.mark.parametrize("end", [Act.FIN, Act.RESET])
def test_a_new_connection_that_ends_is_not_tried_again(end: Act) -> None:
    with faulty([end]) as server, pytest.raises(ConnectError) as caught:
        complete(server.base_url)
    assert len(server.requests) == 1
    assert caught.value.exit_code == 69


def test_one_client_may_be_used_in_two_loops_at_once() -> None:
    async def chat(client: OpenAICompatibleClient) -> str:
        return await client.chat("Hello", MODEL)

    async def meanwhile(client: OpenAICompatibleClient, other: Future[str]) -> list[str]:
        async with client:
            return [await chat(client), await asyncio.to_thread(other.result)]

    with faulty([0.3, *GOOD], GOOD) as server, ThreadPoolExecutor(1) as pool:
        client = OpenAICompatibleClient(server.base_url)
        other = pool.submit(SyncClient(client).chat, "Hello", MODEL)
        time.sleep(0.1)
        assert asyncio.run(meanwhile(client, other), debug=True) == ["Hello", "Hello"]
        assert server.connections == 2


def test_nobody_listens() -> None:
    with pytest.raises(ConnectError, match="Connection refused") as caught:
        complete(f"http://127.0.0.1:{free_port()}/v1")
    assert caught.value.hint == "Check that the server runs, and its address."


def test_a_name_that_nobody_knows() -> None:
    with pytest.raises(ConnectError, match=r"nobody\.invalid.*DNS"):
        complete("http://nobody.invalid/v1", env={})


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"])
def test_no_redirect_is_followed(status: str) -> None:
    with faulty(GOOD) as target, faulty([whole(b"", status, Location=f"{target.base_url}/chat/completions")]) as server:
        with pytest.raises(StatusError, match="redirects elsewhere, which is not followed") as caught:
            complete(server.base_url, api_key=KEY)
        assert caught.value.status == int(status[:3])
        assert target.connections == 0


def test_what_is_sent() -> None:
    with faulty(GOOD) as server:
        complete(server.base_url, api_key=KEY)
        complete(server.base_url)
        (first, second) = server.requests
    assert (first.method, first.path) == ("POST", "/v1/chat/completions")
    assert first.headers["authorization"] == f"Bearer {KEY}"
    assert first.headers["content-type"] == "application/json"
    assert first.headers["accept-encoding"] == "identity"
    assert first.headers["user-agent"] == "llm-fabric"
    assert "authorization" not in second.headers
    assert json.loads(first.body)["messages"] == [{"role": "user", "content": "Hello"}]


def test_pictures_pass_through_unchanged() -> None:
    data = "data:image/png;base64," + "iVBORw0KGgo=" * 9999
    turns = [
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": data}}, {"type": "text", "text": "?"}]}
    ]
    with faulty(GOOD) as server:
        with_client(server.base_url, lambda client: client.chat(turns, MODEL))
        assert json.loads(server.requests[0].body)["messages"] == turns


def test_no_cookie_comes_back() -> None:
    async def twice(client: OpenAICompatibleClient) -> None:
        await client.chat("Hello", MODEL)
        await client.chat("Hello", MODEL)

    with faulty([whole(completion("Hello"), Set_Cookie="who=me")]) as server:
        with_client(server.base_url, twice)
        assert "cookie" not in server.requests[1].headers


WRONG = f"wrong key {KEY}"
CUT = "x" * 175 + WRONG  # in the middle of the key, where messages are shortened
BAD: dict[str, Answer] = {
    "refused": [refusal("401 no", WRONG)],
    "refused at length": [refusal("401 no", CUT)],
    "an error at length": [whole({"error": CUT})],
    "no HTTP": [f"what {KEY}?\r\n\r\n".encode(), Act.FIN],
    "HTML that repeats it": [whole(f"<p>{WRONG}".encode(), content_type="text/html")],
    "JSON that repeats it": [whole({"detail": WRONG})],
    "an error that repeats it": [whole({"error": WRONG})],
    "a stream that repeats it": [head(), event({"error": {"message": WRONG}}), Act.FIN],
    "a chunk that repeats it": [head(), event(f"Authorization: Bearer {KEY}"), Act.FIN],
    "FIN": [Act.FIN],
    "RST": [Act.RESET],
    "silence": [Act.HOLD],
    "HTML": [whole(b"<p>hi", content_type="text/html")],
    "broken": [head(), event(delta(content="a")), Act.FIN],
    "broken chunk": [chunked(b"a")[:-5], 0.05, b"zz", Act.FIN],
    "redirect": [whole(b"", "302 Found", Location="http://127.0.0.1:1/")],
}


@pytest.mark.parametrize("secret", [{"api_key": KEY}, {"headers": {"X-Api-Key": KEY}}], ids=str)
@pytest.mark.parametrize("answer", BAD.values(), ids=BAD)
def test_the_key_is_in_no_error_no_representation_and_no_log(
    answer: Answer, secret: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    shown: list[str] = []

    async def ask(client: OpenAICompatibleClient) -> None:
        stream = client.stream("Hello", MODEL)
        shown.extend([repr(client), repr(stream), str(stream)])
        await gather(stream, [])

    with caplog.at_level(logging.DEBUG), faulty(answer) as server, pytest.raises(ClientError) as caught:
        with_client(server.base_url, ask, **secret)
    shown += [caplog.text, *traceback.format_exception(caught.value)]
    error: BaseException | None = caught.value
    while error is not None:
        shown += [repr(error), repr(error.args), repr(error.__dict__)]
        error = error.__cause__ or error.__context__
    assert not [text for text in shown if KEY[:9] in text]


@pytest.mark.parametrize(
    "options", [{"api_key": "sk-1\n"}, {"api_key": "schlüssel"}, {"headers": {"X": "a\r\nY: b"}}], ids=str
)
def test_what_no_header_can_carry_is_refused_at_once(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="no header can carry") as caught:
        OpenAICompatibleClient("http://127.0.0.1:1/v1", **options)
    assert "sk-1" not in caught.value.message


LOOP: list[Any] = []
LOOP.append(LOOP)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("\ud800", "half a character"),
        (object(), "object"),
        (float("nan"), "nan"),
        ([float("inf")], "inf"),
        (LOOP, "recur"),
    ],
    ids=["surrogate", "object", "nan", "inf", "loop"],
)
def test_what_json_cannot_hold_is_refused_and_not_sent(content: Any, why: str) -> None:
    with faulty(GOOD) as server, pytest.raises(UsageError, match=f"as JSON: .*{why}"):
        with_client(server.base_url, lambda client: client.chat([{"role": "user", "content": content}], MODEL))
    assert server.connections == 0


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("127.0.0.1:8080", UsageError),
        ("ftp://127.0.0.1/v1", UsageError),
        ("http://me:pass@127.0.0.1/v1", RefusedError),
        ("http://169.254.169.254/v1", RefusedError),
        ("http://api.example.com/v1", RefusedError),
    ],
)
def test_an_address_is_checked_before_anything_is_sent(url: str, kind: type[Exception]) -> None:
    with pytest.raises(kind):
        OpenAICompatibleClient(url, KEY)


def test_an_address_may_lack_its_version() -> None:
    with faulty(GOOD) as server:
        assert complete(f"{server.root}/").content == "Hello"
        assert server.requests[0].path == "/v1/chat/completions"


def test_a_whole_document_comes_with_nothing_lost() -> None:
    document: Any = completion("Hello", system_fingerprint="x", timings={"prompt_ms": 1.5})
    deep = json.dumps(completion("Hello"))[:-1] + ', "x": ' + "[" * 100_000 + "]" * 100_000 + "}"
    with faulty([whole(document)], [whole(deep.encode())]) as server:
        assert complete(server.base_url).content == "Hello"
        with pytest.raises(AnswerError, match="recursion"):
            complete(server.base_url)
