"""Many answers at once: each arrives whole, nothing is left behind."""

from __future__ import annotations

import asyncio
import gc
import resource

from provision.client import Delta, OpenAICompatibleClient
from tests.standin.chat_bytes import CHUNKED_HEAD, DONE, LAST_CHUNK, chunk, delta, event
from tests.standin.fault_server import Answer, faulty
from tests.unit.client.talking import MODEL, gather, no_task_left

STREAMS = 200
WORDS = [f"wörd{number} " for number in range(30)]


def story() -> Answer:
    """Return an answer in pieces, each of them cut inside a letter."""
    steps: list[bytes | float] = [CHUNKED_HEAD]
    for word in WORDS:
        data = event(delta(content=word))
        cut = data.index("ö".encode()) + 1
        steps += [chunk(data[:cut]), 0.005, chunk(data[cut:])]
    return [*steps, chunk(event(delta("stop")) + DONE) + LAST_CHUNK]


def test_two_hundred_streams_deliver_everything() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert soft > 3 * STREAMS, f"this test needs {3 * STREAMS} open files, {hard} are allowed"

    async def run(base_url: str) -> list[str]:
        async with OpenAICompatibleClient(base_url) as client:
            with no_task_left():
                found: list[list[Delta]] = [[] for _ in range(STREAMS)]
                await asyncio.gather(*(gather(client.stream("Hello", MODEL), own) for own in found))
            return ["".join(piece.content for piece in own) for own in found]

    with faulty(story()) as server:
        assert asyncio.run(run(server.base_url)) == ["".join(WORDS)] * STREAMS
        assert (len(server.requests), server.connections) == (STREAMS, STREAMS)
    gc.collect()  # what was not closed says so here, and a warning is an error


def test_a_thousand_answers_one_after_another_leave_nothing_behind() -> None:
    async def run(base_url: str) -> int:
        async with OpenAICompatibleClient(base_url) as client:
            await client.chat("Hello", MODEL)
            gc.collect()
            before = len(gc.get_objects())
            for _ in range(1000):
                await client.chat("Hello", MODEL)
            gc.collect()
            return len(gc.get_objects()) - before

    with faulty([CHUNKED_HEAD + chunk(event(delta("stop", content="a")) + DONE) + LAST_CHUNK]) as server:
        assert asyncio.run(run(server.base_url)) < 1.5 * 1000  # one each: the server remembers what it was asked
        assert server.connections == 1
