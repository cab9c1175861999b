"""A chat server that generates nothing: it sends tokens on a grid in time, to as many clients as ask.

    .venv/bin/python -m benchmarks.paced_server TOKENS FIRST_S GAP_S

It prints its port. The request's ``max_tokens``, where there is one, wins over TOKENS.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

QUESTION: list[Any] = [{"role": "user", "content": "Say hello."}]
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


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


def request_bytes(base_url: str) -> bytes:
    """Return the request that the bare readers send."""
    body = json.dumps({"model": "paced", "messages": QUESTION, "stream": True}).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: {urlsplit(base_url).netloc}\r\nContent-Length: {len(body)}"
    return f"{head}\r\n\r\n".encode() + body


def chunk(text: str) -> bytes:
    """Return one piece of a chunked body."""
    data = text.encode()
    return b"%x\r\n%s\r\n" % (len(data), data)


def event(delta: dict[str, str], finish_reason: str | None = None, **more: object) -> bytes:
    """Return one event of a stream, as long as llama.cpp's."""
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
    document = {"id": "chatcmpl-0123456789abcdef", "object": "chat.completion.chunk", "created": 1795309237}
    return chunk(f"data: {json.dumps({**document, 'model': 'paced', 'choices': [choice], **more})}\n\n")


TOKEN = event({"content": " token"})
DONE = chunk("data: [DONE]\n\n") + b"0\r\n\r\n"


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Serve one connection until its client leaves."""
    tokens, first_s, gap_s = int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3])
    now = asyncio.get_running_loop().time
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
            body = json.loads(await reader.readexactly(int(lengths[0].split(b":")[1])))
            count = body.get("max_tokens") or tokens
            due = now() + first_s
            writer.write(HEAD)
            for _ in range(count):
                if (left_s := due - now()) > 0:
                    await asyncio.sleep(left_s)
                writer.write(TOKEN)
                due += gap_s
            usage = {"prompt_tokens": 8, "completion_tokens": count, "total_tokens": count + 8}
            writer.write(event({}, "length", usage=usage) + DONE)
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def main() -> None:
    """Serve until the process is ended."""
    server = await asyncio.start_server(answer, "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
