"""Whoever wants no more of an answer stops it: the server sees its connection end, and at once."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Awaitable, Callable
from contextlib import suppress

import pytest

from provision.client import ConnectError, Delta, OpenAICompatibleClient
from tests.standin.chat_bytes import CHUNKED_HEAD, chunk, completion, delta, event, head, refusal, whole
from tests.standin.fault_server import Act, Answer, FaultServer, faulty
from tests.unit.client.talking import MODEL, gather, no_task_left

SOON_S = 1.0
FIRST = event(delta(content="a"))
STORY: dict[str, Answer] = {
    "chunked": [CHUNKED_HEAD, chunk(FIRST), Act.HOLD],
    "until the connection ends": [head(), FIRST, Act.HOLD],
    "pieces that go on": [head(), FIRST, *[step for _ in range(2000) for step in (0.005, FIRST)]],
}
SILENT: dict[str, Answer] = {
    "before the head": [Act.HOLD],
    "after the head": [head(), Act.HOLD],
    "in a refusal": [head("text/plain", "500 no", Content_Length="99"), b"no", Act.HOLD],
    "in a whole answer": [whole(completion("Hello"))[:-9], Act.HOLD],
}
Leave = Callable[[OpenAICompatibleClient], Awaitable[None]]


async def cancel_the_task(client: OpenAICompatibleClient) -> None:
    found: list[Delta] = []
    task = asyncio.create_task(gather(client.stream("Hello", MODEL), found))
    while not found:
        await asyncio.sleep(0.005)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def cancel_a_whole_answer(client: OpenAICompatibleClient) -> None:
    task = asyncio.create_task(client.chat("Hello", MODEL))
    await asyncio.sleep(0.1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def break_the_loop(client: OpenAICompatibleClient) -> None:
    async for _ in client.stream("Hello", MODEL):
        break


async def leave_the_block(client: OpenAICompatibleClient) -> None:
    async with client.stream("Hello", MODEL) as stream:
        assert (await stream.__anext__()).content == "a"
    assert await anext_or_none(stream) is None
    assert stream.completion().content.startswith("a")


async def raise_in_the_block(client: OpenAICompatibleClient) -> None:
    async def divide() -> None:
        async with client.stream("Hello", MODEL) as stream:
            async for _ in stream:
                raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await divide()


async def close_it(client: OpenAICompatibleClient) -> None:
    stream = client.stream("Hello", MODEL)
    await stream.__anext__()
    await stream.aclose()
    await stream.aclose()


async def close_it_while_it_is_read(client: OpenAICompatibleClient) -> None:
    stream = client.stream("Hello", MODEL)
    task = asyncio.create_task(gather(stream, []))
    await asyncio.sleep(0.1)
    await stream.aclose()
    await asyncio.wait_for(task, SOON_S)  # the loop over it ends; nothing is wrong


async def forget_it(client: OpenAICompatibleClient) -> None:
    stream = client.stream("Hello", MODEL)
    await stream.__anext__()
    del stream
    gc.collect()


async def time_out(client: OpenAICompatibleClient) -> None:
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(gather(client.stream("Hello", MODEL), []), 0.1)


async def anext_or_none(stream: object) -> object:
    with suppress(StopAsyncIteration):
        return await stream.__anext__()  # type: ignore[attr-defined]
    return None


def stops(server: FaultServer, leave: Leave) -> None:
    """Run ``leave`` with a client that stays open; assert that the server is left and nothing goes on here."""

    async def run() -> None:
        async with OpenAICompatibleClient(server.base_url) as client:
            with no_task_left():
                await leave(client)
            assert await asyncio.to_thread(server.client_left, SOON_S)

    asyncio.run(run(), debug=True)


LEAVING: list[Leave] = [
    cancel_the_task,
    cancel_a_whole_answer,
    break_the_loop,
    leave_the_block,
    raise_in_the_block,
    close_it,
    close_it_while_it_is_read,
    forget_it,
    time_out,
]


@pytest.mark.parametrize("answer", STORY.values(), ids=STORY)
@pytest.mark.parametrize("leave", LEAVING, ids=lambda leave: leave.__name__)
def test_who_leaves_an_answer_stops_it(leave: Leave, answer: Answer) -> None:
    with faulty(answer) as server:
        stops(server, leave)


@pytest.mark.parametrize("answer", SILENT.values(), ids=SILENT)
@pytest.mark.parametrize(
    "leave", [cancel_a_whole_answer, close_it_while_it_is_read, time_out], ids=lambda leave: leave.__name__
)
def test_who_leaves_before_the_first_word_stops_it_too(leave: Leave, answer: Answer) -> None:
    with faulty(answer) as server:
        stops(server, leave)
        assert len(server.requests) == 1


@pytest.mark.parametrize(
    "leave", [cancel_a_whole_answer, time_out, close_it_while_it_is_read], ids=lambda leave: leave.__name__
)
def test_who_leaves_a_server_that_loads_asks_no_more(leave: Leave) -> None:
    async def run(server: FaultServer) -> None:
        async with OpenAICompatibleClient(server.base_url) as client:
            with no_task_left():
                await leave(client)
            asked = len(server.requests)
            await asyncio.sleep(0.6)
            assert len(server.requests) == asked

    with faulty([refusal("503 Loading", "Loading model")]) as server:
        asyncio.run(run(server), debug=True)


def test_what_was_left_does_no_harm_to_what_comes_next() -> None:
    async def run(server: FaultServer) -> str:
        async with OpenAICompatibleClient(server.base_url) as client:
            await break_the_loop(client)
            return await client.chat("Hello", MODEL)

    with faulty(STORY["chunked"], [whole(completion("Hello"))]) as server:
        assert asyncio.run(run(server), debug=True) == "Hello"


def test_who_is_cancelled_while_somebody_else_closes_is_cancelled() -> None:
    async def run(server: FaultServer) -> None:
        async with OpenAICompatibleClient(server.base_url) as client:
            stream = client.stream("Hello", MODEL)
            task = asyncio.create_task(gather(stream, []))
            await asyncio.sleep(0.2)
            await stream.aclose()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    with faulty([Act.HOLD]) as server:
        asyncio.run(run(server), debug=True)


def test_one_of_many_is_left_and_the_others_go_on() -> None:
    async def run(server: FaultServer) -> list[str]:
        async with OpenAICompatibleClient(server.base_url) as client:
            tasks = [asyncio.create_task(client.chat("Hello", MODEL)) for _ in range(5)]
            await asyncio.sleep(0.1)
            tasks[2].cancel()
            found = await asyncio.gather(*tasks, return_exceptions=True)
            assert isinstance(found.pop(2), asyncio.CancelledError)
            return [str(text) for text in found]

    with faulty([head(), 0.3, FIRST + event("[DONE]"), Act.FIN]) as server:
        assert asyncio.run(run(server), debug=True) == ["a"] * 4
        assert server.client_left()


def test_a_client_that_is_closed_ends_what_it_does() -> None:
    async def run(server: FaultServer) -> None:
        client = OpenAICompatibleClient(server.base_url)
        task = asyncio.create_task(client.chat("Hello", MODEL))
        await asyncio.sleep(0.1)
        await client.aclose()
        with pytest.raises(ConnectError, match="client was closed"):
            await asyncio.wait_for(task, SOON_S)

    with faulty([Act.HOLD]) as server:
        asyncio.run(run(server), debug=True)
        assert server.client_left(SOON_S)
        assert len(server.requests) == 1


def test_a_stream_that_was_never_begun_asks_nothing() -> None:
    async def run(server: FaultServer) -> None:
        async with OpenAICompatibleClient(server.base_url) as client:
            async with client.stream("Hello", MODEL):
                pass
            await client.stream("Hello", MODEL).aclose()

    with faulty([Act.HOLD]) as server:
        asyncio.run(run(server), debug=True)
        assert server.connections == 0
