"""What `provision.client` costs beside a bare socket, its HTTP library alone, and the official `openai` package.

    .venv/bin/python -m benchmarks.client [ROUNDS]

Everything runs against a server that sends tokens on a grid in time (`benchmarks/paced_server.py`), so that whatever is
late is late because of the client. All measures are taken in turn within each round; of many answers at once, which
take long, there is one round for each five.
"""

from __future__ import annotations

import asyncio
import socket
import statistics
import sys
import time
from collections.abc import Callable
from contextlib import closing
from functools import partial
from typing import NamedTuple
from urllib.parse import urlsplit

from openai import OpenAI

from benchmarks.client_streams import report_many
from benchmarks.paced_server import QUESTION, paced, request_bytes
from benchmarks.timing import interleaved, report, wall_s
from provision.client import OpenAICompatibleClient

TOKENS, FIRST_S, GAP_S = 100, 0.02, 0.005
MAX_RATIO, MAX_FIRST_S, MAX_IMPORT_RATIO = 1.03, 0.001, 1.3


class Took(NamedTuple):
    """Seconds to the first token, and to the end."""

    first_s: float
    whole_s: float


def connected(base_url: str) -> socket.socket:
    """Return a connection that is kept, as all clients keep theirs."""
    address = urlsplit(base_url)
    return socket.create_connection((address.hostname or "", address.port or 80))


def bare_socket(connection: socket.socket, request: bytes) -> Took:
    """Read an answer with a socket and nothing else."""
    began, first, seen = time.perf_counter(), 0.0, b""
    connection.sendall(request)
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
    with (
        paced(TOKENS, FIRST_S, GAP_S) as base_url,
        closing(connected(base_url)) as connection,
        OpenAI(base_url=base_url, api_key="none") as openai,
    ):
        client, request = OpenAICompatibleClient(base_url), request_bytes(base_url)
        readers: dict[str, Callable[[], Took]] = {
            "bare socket": lambda: bare_socket(connection, request),
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
    return imports(rounds) | one_stream(rounds) | report_many(max(1, rounds // 5))


if __name__ == "__main__":
    sys.exit(main())
