"""A client for every server that speaks OpenAI's API, whatever engine is behind it."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from provision.client.answers import Completion, Delta, Embeddings, ServedModel
from provision.client.body import Body, hear
from provision.client.closing import AsyncClosing
from provision.client.connection import PATIENT, Connection, Patience
from provision.client.port import Messages
from provision.client.reader import AnswerReader
from provision.client.request import chat_request
from provision.client.wire import WireUsage, no_answer, read_value
from provision.domain.endpoint import normalize

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack

    from provision.client.port import Options
    from provision.domain.client_config import ClientConfig

CHAT, PROMPT, EMBEDDINGS, MODELS = "/chat/completions", "/completions", "/embeddings", "/models"
LAST_BYTES_S = 0.25  # for the end of a stream that has said all, so that its connection can be kept


class OpenAICompatibleClient(AsyncClosing):
    """See ``ChatClient``.

    ``base_url`` may lack the ``/v1``. Raises ``UsageError`` for what is no address, ``RefusedError`` for an unsafe one
    (see ``provision.domain.endpoint.normalize``). ``default_key``, which is no secret, is sent where there is no
    ``api_key``. ``env`` (else this process's) names proxies and certificates; ``headers`` go with every request.
    """

    def __init__(
        self,
        base_url: str,
        api_key: str | None = None,
        *,
        default_key: str | None = None,
        patience: Patience = PATIENT,
        env: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.base_url = normalize(base_url, has_key=bool(api_key))
        self._connection = Connection(self.base_url, api_key, patience, env, headers, default_key=default_key)

    @classmethod
    def of(cls, config: ClientConfig, *, patience: Patience = PATIENT) -> Self:
        """Return a client for the server that ``fabric config`` describes."""
        return cls(config.base_url, config.api_key, patience=patience)

    async def chat(self, messages: Messages, model: str, **options: Unpack[Options]) -> str:
        return (await self.complete(messages, model, **options)).content

    async def complete(self, messages: Messages, model: str, **options: Unpack[Options]) -> Completion:
        """As a stream: only then does every server notice when nobody wants the answer any more, and stop."""
        async with self.stream(messages, model, **options) as pieces:
            async for _ in pieces:
                pass
        return pieces.completion()

    def stream(self, messages: Messages, model: str, **options: Unpack[Options]) -> Stream:
        request = chat_request(messages, model, options)
        return Stream(self._connection, CHAT, request)

    def continue_text(self, prompt: str, model: str, fields: Mapping[str, Any]) -> Stream:
        """Return how the model goes on after ``prompt``, which it is given as it is: without a template for chats.

        ``fields`` are the others of a request for ``/v1/completions``, such as ``suffix``.
        """
        return Stream(self._connection, PROMPT, {"model": model, "prompt": prompt, **fields})

    async def embed(self, inputs: str | Sequence[str], model: str, *, dimensions: int | None = None) -> Embeddings:
        texts = [inputs] if isinstance(inputs, str) else list(inputs)
        request: dict[str, Any] = {"model": model, "input": texts, "encoding_format": "float"}
        if dimensions is not None:
            request["dimensions"] = dimensions
        body = await self._connection.request("POST", EMBEDDINGS, request)
        peer = self._connection.peer
        found, _ = read_value(body, _Embeddings, peer)
        rows = found.data or []
        if len(rows) != len(texts):
            raise no_answer(peer, body, f"{len(rows)} vectors for {len(texts)} inputs")
        vectors = tuple(row.embedding for row in sorted(rows, key=lambda row: row.index or 0))
        return Embeddings(vectors, found.model or model, found.usage.value() if found.usage else None)

    async def models(self) -> list[ServedModel]:
        body = await self._connection.request("GET", MODELS)
        found, raw = read_value(body, _Models, self._connection.peer)
        rows = zip(found.data or [], raw["data"] or [], strict=True)
        return [ServedModel(row.id, int(row.created or 0), row.owned_by or "", said) for row, said in rows]

    async def aclose(self) -> None:
        await self._connection.aclose()


class Stream(AsyncClosing):
    """See ``AnswerStream``."""

    def __init__(self, connection: Connection, path: str, request: Mapping[str, Any]) -> None:
        self._connection = connection
        self._path = path
        self._request = {**request, "stream": True, "stream_options": {"include_usage": True}}
        self._opening: asyncio.Future[None] | None = None
        self._body: Body | None = None
        self._reader = AnswerReader(connection.peer, time.perf_counter_ns())
        self._ready: deque[Delta] = deque()
        self._ended = False
        self._told = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Delta:
        try:
            while not self._ready and not self._ended:
                await self._read()
        except BaseException:
            self._close()
            raise
        if self._ready:
            return self._ready.popleft()
        if self._reader.error and not self._told:
            self._told = True
            raise self._reader.error
        raise StopAsyncIteration

    async def aclose(self) -> None:
        self._close()

    def completion(self) -> Completion:
        return self._reader.completion()

    def __del__(self) -> None:
        """Whoever leaves a loop over the answer wants no more of it."""
        self._close()

    async def _read(self) -> None:
        """Read on: the head of the answer, then its bytes; after all that is of interest, what is left of it."""
        if self._body is None:
            await self._wait_for_head()
        elif self._reader.error:
            self._close()
        elif self._reader.done:
            await self._body.finish(LAST_BYTES_S)
            self._close()
        else:
            await self._read_piece(self._body)

    async def _wait_for_head(self) -> None:
        opening = self._opening = asyncio.ensure_future(self._open())
        opening.add_done_callback(hear)
        try:
            await asyncio.wait([opening])
        except asyncio.CancelledError:
            opening.cancel()
            await asyncio.wait([opening])
            raise
        if not (self._ended and opening.cancelled()):  # by ``aclose``, while this waited
            opening.result()

    async def _open(self) -> None:
        self._body = await self._connection.open(self._path, self._request)
        self._reader = AnswerReader(self._connection.peer, self._body.sent_ns)

    async def _read_piece(self, body: Body) -> None:
        broken, data = "", b""
        try:
            data = await body.piece()
        except OSError as error:
            if self._ended:  # by ``aclose``, while this waited
                return
            broken = str(error)
        now_ns = time.perf_counter_ns()
        if data:
            self._ready += self._reader.feed(data, now_ns)
        else:
            self._ready += self._reader.close(now_ns, broken)
            self._close()

    def _close(self) -> None:
        self._ended = True
        if self._opening is not None and not self._opening.done():
            self._opening.cancel()
        body, self._body = self._body, None
        if body is not None:
            body.close()


class _Vector(msgspec.Struct):
    embedding: tuple[float, ...]
    index: int | None = None


class _Embeddings(msgspec.Struct):
    data: list[_Vector] | None
    model: str | None = None
    usage: WireUsage | None = None


class _Row(msgspec.Struct):
    id: str
    created: float | None = None
    owned_by: str | None = None


class _Models(msgspec.Struct):
    data: list[_Row] | None
