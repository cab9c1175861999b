"""What both clients are: find the server, ask it, and give the answer its type."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any, Protocol, TypeVar

from provision.client.connection import PATIENT, Patience
from provision.inference.backend import Backend
from provision.inference.calls import Call
from provision.inference.endpoints import Endpoints, Settings
from provision.inference.errors import RequestError, ResponseError, in_its_words
from provision.inference.value import Value

T = TypeVar("T", bound=Value)

_WITH_KEEP_ALIVE = ("/api/chat", "/api/generate", "/api/embed", "/api/embeddings")
_FOR_EVER_S = 7 * 86400.0  # as good as: what pulls a model says nothing until it is done


class Timeout(Protocol):
    """A timeout as HTTP libraries write it, such as httpx: in seconds, ``None`` for ever."""

    @property
    def connect(self) -> float | None: ...

    @property
    def read(self) -> float | None: ...


class BaseClient:
    """What both clients take and do. Their calls raise what ``in_its_words`` says.

    ``host`` names one server, as ``OLLAMA_HOST`` does; without it each model goes where ``provision.client.routing``
    sends it. ``keep_alive`` goes with every call that has none of its own, where the server knows one. What a server
    cannot be told is left out, or refused where ``strict``. ``backend`` says what kind of server ``host`` is, by its
    name in the table of backends; ``timeout`` how many seconds it may be silent. ``env`` stands for ``os.environ``.
    """

    def __init__(
        self,
        host: str | None = None,
        *,
        keep_alive: float | str | None = None,
        strict: bool = False,
        env: Mapping[str, str] | None = None,
        backend: str | None = None,
        timeout: float | Timeout | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self._keep_alive = keep_alive
        settings = Settings(os.environ if env is None else env, _patience(timeout), _titled(headers or {}), strict)
        with in_its_words():
            self._endpoints = Endpoints(host, backend, settings)

    async def _answer(self, call: Call[T]) -> T:
        """Return the whole answer."""
        with in_its_words():
            backend, routed = await self._routed(call)
            return _typed(call, await backend.whole(routed))

    async def _answers(self, call: Call[T]) -> AsyncGenerator[T, None]:
        """Return the answer piece by piece; nothing is sent before the first one is asked for."""
        with in_its_words():
            backend, routed = await self._routed(call)
            async with aclosing(backend.pieces(routed)) as documents:
                async for document in documents:
                    yield _typed(call, document)

    async def _release(self) -> None:
        """Close the connections that are kept."""
        await self._endpoints.aclose()

    async def _routed(self, call: Call[T]) -> tuple[Backend, Call[T]]:
        """Return what answers the call, and the call as that knows it."""
        if call.model == "":
            raise RequestError("No model is named.")
        backend, name = await self._endpoints.of(call.model)
        routed = call.changed(model=name) if name else call
        wanted = self._keep_alive is not None and backend.keeps_alive and call.path in _WITH_KEEP_ALIVE
        if wanted and "keep_alive" not in (call.document or {}):
            routed = routed.changed(keep_alive=self._keep_alive)
        return backend, routed


def _typed(call: Call[T], document: dict[str, Any]) -> T:
    """Return an answer of the type that the call has. Raises ``ResponseError`` for a document that does not fit."""
    try:
        return call.answer(**document)
    except (TypeError, ValueError) as error:
        raise ResponseError(f"What the server sends is no {call.answer.__name__}: {error}") from error


def _patience(timeout: float | Timeout | None) -> Patience:
    whole: Any = timeout
    parts = (getattr(timeout, name, whole) for name in ("connect", "read"))
    connect_s, silence_s = (_FOR_EVER_S if part is None else part for part in parts)
    return Patience(min(connect_s, PATIENT.connect_s), silence_s)


def _titled(headers: Mapping[str, str]) -> dict[str, str]:
    """Return headers in one spelling, so that one of the caller's replaces one of ours."""
    return {name.title(): value for name, value in headers.items()}
