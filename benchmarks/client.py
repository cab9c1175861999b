"""What `provision.client` costs beside a bare socket, its HTTP library alone, and the official `openai` package.

    .venv/bin/python -m benchmarks.client [ROUNDS]

Everything runs against a server that sends tokens on a grid in time (`benchmarks/paced_server.py`), so that whatever is
late is late because of the client. All measures are taken in turn within each round.
"""

from __future__ import annotations

import asyncio
import json
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from openai import AsyncOpenAI, OpenAI

from benchmarks.timing import interleaved, report, wall_s
from provision.client import OpenAICompatibleClient

TOKENS, FIRST_S, GAP_S = 100, 0.02, 0.005
STREAMS, STREAM_GAP_S, STREAM_TOKENS = 200, 0.02, 250
MAX_RATIO, MAX_FIRST_S, MAX_IMPORT_RATIO = 1.03, 0.001, 1.3
QUESTION: list[Any] = [{"role": "user", "content": "Say hello."}]


class Took(NamedTuple):
    """Seconds to the first token, and to the end."""

    first_s: float
    whole_s: float


@contextmanager
def paced(*arguments: object) -> Iterator[str]:
    """Run the server and give its base URL."""
    argv = [sys.executable, "-m", "benchmarks.paced_server", *map(str, arguments)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            yield f"http://127.0.0.1:{server.stdout.readline().strip()}/v1"
        finally:
            server.terminate()


def request_bytes(base_url: str, *, stream: bool = True) -> bytes:
    """Return the request that the bare readers send."""
    body = json.dumps({"model": "paced", "messages": QUESTION, "stream": stream}).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: {urlsplit(base_url).netloc}\r\nContent-Length: {len(body)}"
    return f"{head}\r\n\r\n".encode() + body


def bare_socket(base_url: str) -> Took:
    """Read an answer with a socket and nothing else."""
    began, first, seen = time.perf_counter(), 0.0, b""
    address = urlsplit(base_url)
    with socket.create_connection((address.hostname or "", address.port or 80)) as connection:
        connection.sendall(request_bytes(base_url))
        while not seen.endswith(b"0\r\n\r\n"):
            seen += connection.recv(1 << 16)
            if not first and b" token" in seen:
                first = time.perf_counter()
    return Took(first - began, time.perf_counter() - began)


async def ours(client: OpenAICompatibleClient) -> Took:
    """Read an answer with our client, which keeps its connection."""
    began, first = time.perf_counter(), 0.0
    async for piece in client.stream(QUESTION, "paced"):
        if piece.content and not first:
            first = time.perf_counter()
    return Took(first - began, time.perf_counter() - began)


def official(client: OpenAI) -> Took:
    """Read an answer with the official client, which keeps its connection."""
    began, first = time.perf_counter(), 0.0
    for piece in client.chat.completions.create(model="paced", messages=QUESTION, stream=True):
        if not first and piece.choices and piece.choices[0].delta.content:
            first = time.perf_counter()
    return Took(first - began, time.perf_counter() - began)


def one_stream(rounds: int) -> int:
    """Compare one answer at a time; return 1 where a limit is exceeded."""
    loop, taken = asyncio.new_event_loop(), dict[str, list[Took]]()
    with paced(TOKENS, FIRST_S, GAP_S) as base_url, OpenAI(base_url=base_url, api_key="none") as openai:
        client = OpenAICompatibleClient(base_url)
        readers: dict[str, Callable[[], Took]] = {
            "bare socket": lambda: bare_socket(base_url),
            "provision.client": lambda: loop.run_until_complete(ours(client)),
            "openai": lambda: official(openai),
        }

        def measure(name: str) -> Callable[[], float]:
            def once() -> float:
                taken.setdefault(name, []).append(readers[name]())
                return taken[name][-1].whole_s

            return once

        samples = interleaved({name: measure(name) for name in readers}, rounds)
        loop.run_until_complete(client.aclose())
    loop.close()
    print(f"\nOne answer of {TOKENS} tokens, one every {GAP_S * 1e3:g} ms")
    base = {name: "bare socket" for name in readers if name != "bare socket"}
    failed = report(samples, base, {"provision.client": MAX_RATIO})
    return failed | _report_first(taken)


def _report_first(taken: dict[str, list[Took]]) -> int:
    """Print how much later the first token is than with the bare socket; each reader's first answer is a warm-up."""
    print(f"{'to the first token':<28}{'median ms':>10}{'more ms':>10}{'limit':>8}")
    failed = 0
    for name, times in taken.items():
        pairs = zip(times[1:], taken["bare socket"][1:], strict=True)
        more_s = statistics.median(one.first_s - bare.first_s for one, bare in pairs)
        limit = f"{MAX_FIRST_S * 1e3:g}" if name == "provision.client" else ""
        over = bool(limit) and more_s > MAX_FIRST_S
        failed |= over
        median = statistics.median(one.first_s for one in times[1:])
        print(f"{name:<28}{median * 1e3:10.2f}{more_s * 1e3:10.2f}{limit:>8}{'  OVER' if over else ''}")
    return int(failed)


async def bare_stream(base_url: str, tick: Callable[[int], None]) -> None:
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


async def our_stream(client: OpenAICompatibleClient, tick: Callable[[int], None]) -> None:
    """Read one of many answers with our client."""
    count = 0
    async for piece in client.stream(QUESTION, "paced"):
        if piece.content:
            tick(count)
            count += 1


async def official_stream(client: AsyncOpenAI, tick: Callable[[int], None]) -> None:
    """Read one of many answers with the official client."""
    count = 0
    stream = await client.chat.completions.create(model="paced", messages=QUESTION, stream=True)
    async for piece in stream:
        if piece.choices and piece.choices[0].delta.content:
            tick(count)
            count += 1


class Lateness(NamedTuple):
    """How late tokens come against the grid that each answer's first token begins, and the processor time for each."""

    p50_ms: float
    p99_ms: float
    last_ms: float
    cpu_us: float


async def side_by_side(read: Callable[[Callable[[int], None]], Awaitable[None]]) -> Lateness:
    """Read all answers at once. ``last_ms`` is the median lateness of their last tokens."""
    late: list[list[float]] = [[] for _ in range(STREAMS)]

    async def one(number: int) -> None:
        began = 0.0

        def tick(count: int) -> None:
            nonlocal began
            now = time.perf_counter()
            began = began or now
            late[number].append(now - began - count * STREAM_GAP_S)

        await read(tick)

    spent = time.process_time()
    await asyncio.gather(*map(one, range(STREAMS)))
    spent = time.process_time() - spent
    every = sorted(value * 1e3 for one_late in late for value in one_late)
    assert len(every) == STREAMS * STREAM_TOKENS, "tokens are missing"
    last = statistics.median(one_late[-1] for one_late in late)
    return Lateness(every[len(every) // 2], every[int(0.99 * len(every))], last * 1e3, spent / len(every) * 1e6)


async def many_streams(base_url: str) -> dict[str, Lateness]:
    """Compare many answers at once."""
    found = {"bare asyncio streams": await side_by_side(lambda tick: bare_stream(base_url, tick))}
    async with OpenAICompatibleClient(base_url) as client:
        found["provision.client"] = await side_by_side(lambda tick: our_stream(client, tick))
    async with AsyncOpenAI(base_url=base_url, api_key="none") as openai:
        found["openai"] = await side_by_side(lambda tick: official_stream(openai, tick))
    return found


def report_many() -> int:
    """Print how far behind each client is; return 1 where ours is more than one token behind at the end."""
    with paced(STREAM_TOKENS, FIRST_S, STREAM_GAP_S) as base_url:
        found = asyncio.run(many_streams(base_url))
    print(f"\n{STREAMS} answers at once, {1 / STREAM_GAP_S:g} tokens/s each, {STREAM_TOKENS} tokens: ms late")
    print(f"{'client':<28}{'p50':>10}{'p99':>10}{'at the end':>12}{'us/token':>10}")
    for name, late in found.items():
        print(f"{name:<28}{late.p50_ms:10.1f}{late.p99_ms:10.1f}{late.last_ms:12.1f}{late.cpu_us:10.1f}")
    behind = found["provision.client"].last_ms > STREAM_GAP_S * 1e3
    print("provision.client falls behind  OVER" if behind else "provision.client does not fall behind")
    return int(behind)


def imports(rounds: int) -> int:
    """Compare imports; return 1 where a limit is exceeded."""
    library, client = "import aiohttp", "import provision.client"
    lines = {
        library: library,
        "provision.client": client,
        "with what it loads later": f"{client}; import aiohttp, tenacity",
        "import openai": "import openai",
    }
    measures = {name: partial(wall_s, [sys.executable, "-c", line]) for name, line in lines.items()}
    samples = interleaved(measures, rounds)
    print("\nImports, in a process each")
    base = dict.fromkeys([name for name in lines if name != library], library)
    return report(samples, base, dict.fromkeys(list(lines)[1:3], MAX_IMPORT_RATIO))


def main() -> int:
    """Run all comparisons."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 15
    return imports(rounds) | one_stream(rounds) | report_many()


if __name__ == "__main__":
    sys.exit(main())
