"""The synchronous face: the same calls without ``await``.

One event loop in a thread of its own serves all of them, so that they work in a program that has no loop, in one that
has (a notebook), and in several threads at once.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import threading
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar, cast
from weakref import WeakSet

from provision.client.answers import Completion, Delta, Embeddings, ServedModel
from provision.client.closing import Closing
from provision.client.port import AnswerStream, ChatClient, Messages

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from provision.client.port import Options

T = TypeVar("T")


class Kept(Protocol):
    """What holds connections."""

    async def aclose(self) -> None: ...


_END: Any = object()


class Portal:
    """An event loop in a thread of its own, started when it is first needed; a forked process gets another."""

    def __init__(self) -> None:
        self._lock = threading.RLock()  # the collector may end a stream while this thread holds it
        self._kept: WeakSet[Kept] = WeakSet()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._pid = 0

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run it in the loop and wait for it. An interrupt here cancels it there."""
        future = asyncio.run_coroutine_threadsafe(coroutine, self._running())
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def leave(self, coroutine: Coroutine[Any, Any, object]) -> None:
        """Run it in the loop without waiting."""
        asyncio.run_coroutine_threadsafe(coroutine, self._running())

    def keep(self, kept: Kept) -> None:
        """Close it when the process ends, if it is still there."""
        self._kept.add(kept)

    def close_all(self) -> None:
        """Close what is kept; one that cannot be closed keeps nobody from closing the others."""
        if self._loop is not None and self._pid == os.getpid():
            for kept in list(self._kept):
                with suppress(Exception):
                    self.run(kept.aclose())

    def _running(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None or self._pid != os.getpid():
                self._loop, self._pid = asyncio.new_event_loop(), os.getpid()
                threading.Thread(target=self._loop.run_forever, name="provision.client", daemon=True).start()
            return self._loop


PORTAL = Portal()
atexit.register(PORTAL.close_all)


T_co = TypeVar("T_co", covariant=True)


class Closable(Protocol[T_co]):
    """An asynchronous iterator that can be ended early."""

    async def __anext__(self) -> T_co: ...

    async def aclose(self) -> None: ...


class Blocking(Closing, Generic[T]):
    """An asynchronous iterator, iterated over without ``await``. Leaving the loop over it ends it."""

    def __init__(self, source: Closable[T]) -> None:
        self._source = source
        self._pid = os.getpid()

    def __iter__(self) -> Iterator[T]:
        return self

    def __next__(self) -> T:
        item = PORTAL.run(self._next())
        if item is _END:
            raise StopIteration
        return item

    def close(self) -> None:
        """End it. In a forked process, where it is the parent's, this does nothing."""
        if self._pid == os.getpid():
            PORTAL.run(self._source.aclose())

    def __del__(self) -> None:
        """It belongs to the other thread, and so it has to be ended there."""
        if self._pid == os.getpid():
            PORTAL.leave(self._source.aclose())

    async def _next(self) -> T:
        try:
            return await self._source.__anext__()
        except StopAsyncIteration:
            return cast("T", _END)


class SyncStream(Blocking[Delta]):
    """See ``AnswerStream``; with ``with`` and ``for``."""

    def __init__(self, stream: AnswerStream, client: ChatClient) -> None:
        super().__init__(stream)
        self._stream = stream
        self._client = client  # so that its connections are closed when the process ends, and not forgotten

    def completion(self) -> Completion:
        """Return the answer as far as it has come."""
        return self._stream.completion()


class SyncClient(Closing):
    """Any ``ChatClient`` without ``await``; it may be used from several threads.

    ::

        with SyncClient(OpenAICompatibleClient("http://127.0.0.1:8080/v1")) as client:
            print(client.chat("Say hello.", "smollm2-135m"))
    """

    def __init__(self, client: ChatClient) -> None:
        self._client = client
        PORTAL.keep(client)

    def chat(self, messages: Messages, model: str, **options: Unpack[Options]) -> str:
        """Return the text of the answer."""
        return PORTAL.run(self._client.chat(messages, model, **options))

    def complete(self, messages: Messages, model: str, **options: Unpack[Options]) -> Completion:
        """Return the whole answer."""
        return PORTAL.run(self._client.complete(messages, model, **options))

    def stream(self, messages: Messages, model: str, **options: Unpack[Options]) -> SyncStream:
        """Return the answer piece by piece; the request is sent when the first one is asked for."""
        return SyncStream(self._client.stream(messages, model, **options), self._client)

    def embed(self, inputs: str | Sequence[str], model: str, *, dimensions: int | None = None) -> Embeddings:
        """Return a vector for each input."""
        return PORTAL.run(self._client.embed(inputs, model, dimensions=dimensions))

    def models(self) -> list[ServedModel]:
        """Return what the server lists."""
        return PORTAL.run(self._client.models())

    def close(self) -> None:
        """Close the connections that are kept."""
        PORTAL.run(self._client.aclose())
