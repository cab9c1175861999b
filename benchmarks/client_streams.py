"""Many answers at once: how late their tokens come to each client, and what they cost. Part of `benchmarks.client`."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple
from urllib.parse import urlsplit

from openai import AsyncOpenAI

from benchmarks.paced_server import QUESTION, paced, request_bytes
from provision.client import OpenAICompatibleClient

STREAMS, STREAM_TOKENS, FIRST_S, STREAM_GAP_S = 200, 250, 0.02, 0.02
Tick = Callable[[int], None]


async def bare_stream(base_url: str, tick: Tick) -> None:
    """Read one of many answers with asyncio's own streams, and parse nothing."""
    address = urlsplit(base_url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    writer.write(request_bytes(base_url))
    count, data = 0, b"x"
    while data and not data.endswith(b"0\r\n\r\n"):
        data = await reader.read(1 << 16)
        for _ in range(data.count(b" token")):
            tick(count)
            count += 1
    writer.close()


async def our_stream(client: OpenAICompatibleClient, tick: Tick, tokens: int = STREAM_TOKENS) -> None:
    """Read one of many answers with our client."""
    count = 0
    async for piece in client.stream(QUESTION, "paced", max_tokens=tokens):
        if piece.content:
            tick(count)
            count += 1


async def official_stream(client: AsyncOpenAI, tick: Tick, tokens: int = STREAM_TOKENS) -> None:
    """Read one of many answers with the official client."""
    count = 0
    stream = await client.chat.completions.create(model="paced", messages=QUESTION, stream=True, max_tokens=tokens)
    async for piece in stream:
        if piece.choices and piece.choices[0].delta.content:
            tick(count)
            count += 1


class Lateness(NamedTuple):
    """How late tokens come, and the processor time for each.

    The grid begins ``FIRST_S`` after each request: until the server has read it, all tokens of an answer are late.
    """

    first_ms: float
    p50_ms: float
    p99_ms: float
    last_ms: float
    cpu_us: float

    @property
    def behind_ms(self) -> float:
        """By how much the last tokens come later than the first ones."""
        return self.last_ms - self.first_ms


async def side_by_side(read: Callable[[Tick], Awaitable[None]]) -> Lateness:
    """Read all answers at once. ``first_ms`` and ``last_ms`` are medians of their first and their last tokens."""
    late: list[list[float]] = [[] for _ in range(STREAMS)]

    async def one(number: int) -> None:
        began = time.perf_counter() + FIRST_S

        def tick(count: int) -> None:
            late[number].append(time.perf_counter() - began - count * STREAM_GAP_S)

        await read(tick)

    spent = time.process_time()
    await asyncio.gather(*map(one, range(STREAMS)))
    spent = time.process_time() - spent
    every = sorted(value * 1e3 for one_late in late for value in one_late)
    assert len(every) == STREAMS * STREAM_TOKENS, "tokens are missing"
    first, last = (statistics.median(one_late[place] for one_late in late) * 1e3 for place in (0, -1))
    return Lateness(first, every[len(every) // 2], every[int(0.99 * len(every))], last, spent / len(every) * 1e6)


async def many_streams(base_url: str) -> dict[str, Lateness]:
    """Compare many answers at once; each client has had a short one before, so that nothing is loaded meanwhile."""
    found = {"bare asyncio streams": await side_by_side(lambda tick: bare_stream(base_url, tick))}
    async with OpenAICompatibleClient(base_url) as client:
        await our_stream(client, ignore, tokens=1)
        found["provision.client"] = await side_by_side(lambda tick: our_stream(client, tick))
    async with AsyncOpenAI(base_url=base_url, api_key="none") as openai:
        await official_stream(openai, ignore, tokens=1)
        found["openai"] = await side_by_side(lambda tick: official_stream(openai, tick))
    return found


def ignore(_: int) -> None:
    """Take no time."""


def medians(taken: Sequence[Lateness]) -> Lateness:
    """Return the median of each figure."""
    return Lateness(*map(statistics.median, zip(*taken, strict=True)))


def report_many(rounds: int) -> int:
    """Print how late each client is; return 1 where ours falls behind by more than a token from first to last."""
    with paced(STREAM_TOKENS, FIRST_S, STREAM_GAP_S) as base_url:
        taken = [asyncio.run(many_streams(base_url)) for _ in range(rounds)]
    found = {name: medians([each[name] for each in taken]) for name in taken[0]}
    print(f"\n{STREAMS} answers at once, {1 / STREAM_GAP_S:g} tokens/s each, {STREAM_TOKENS} tokens: ms late")
    print(f"{'client':<28}{'first':>10}{'p50':>10}{'p99':>10}{'last':>10}{'us/token':>10}")
    for name, late in found.items():
        print(f"{name:<28}{''.join(f'{figure:10.1f}' for figure in late)}")
    behind = found["provision.client"].behind_ms > STREAM_GAP_S * 1e3
    print("provision.client falls behind  OVER" if behind else "provision.client does not fall behind")
    return int(behind)
