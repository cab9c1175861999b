"""What the tests of talking to a server share: one question, asked in each of the ways."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from provision.client import AnswerStream, Completion, Delta, OpenAICompatibleClient, Patience

T = TypeVar("T")

HASTY = Patience(connect_s=2.0, silence_s=0.5, busy_s=2.0, backoff_s=0.01, max_wait_s=0.05)
MODEL = "served"


def with_client(
    base_url: str, ask: Callable[[OpenAICompatibleClient], Awaitable[T]], patience: Patience = HASTY, **options: Any
) -> T:
    """Run ``ask`` with a client in an event loop of its own."""

    async def run() -> T:
        async with OpenAICompatibleClient(base_url, patience=patience, **options) as client:
            return await ask(client)

    return asyncio.run(run(), debug=True)


def complete(base_url: str, **options: Any) -> Completion:
    """Ask for a whole answer."""
    return with_client(base_url, lambda client: client.complete("Hello", MODEL), **options)


async def gather(stream: AnswerStream, found: list[Delta]) -> None:
    """Add the pieces of a stream to ``found``, also where it ends with an error."""
    async for delta in stream:
        found.append(delta)  # noqa: PERF401 - what came before an error counts


def streamed(base_url: str, found: list[Delta] | None = None, **options: Any) -> Completion:
    """Ask for a stream and read it to its end; its pieces are added to ``found``."""

    async def ask(client: OpenAICompatibleClient) -> Completion:
        stream = client.stream("Hello", MODEL)
        await gather(stream, [] if found is None else found)
        return stream.completion()

    return with_client(base_url, ask, **options)


@contextmanager
def no_task_left() -> Iterator[None]:
    """Assert that nothing goes on in the running loop but what went on before."""
    before = asyncio.all_tasks()
    yield
    assert asyncio.all_tasks() <= before
