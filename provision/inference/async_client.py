"""``AsyncClient``: every call is awaited."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeVar, overload

from provision.client.closing import AsyncClosing
from provision.inference import calls, types
from provision.inference.calls import Call
from provision.inference.client import BaseClient
from provision.inference.documents import Messages, OptionsLike
from provision.inference.value import Value

if TYPE_CHECKING:
    from typing_extensions import Unpack

T = TypeVar("T", bound=Value)


class AsyncClient(BaseClient, AsyncClosing):
    """Ollama's client for any backend, for use within one event loop. See ``BaseClient`` for what it takes.

    ``await client.chat(..., stream=True)`` gives the answer piece by piece; cancelling the task stops the generation.
    """

    @overload
    async def chat(
        self,
        model: str = "",
        messages: Messages | None = None,
        *,
        stream: Literal[False] = False,
        **more: Unpack[calls.ChatMore],
    ) -> types.ChatResponse: ...

    @overload
    async def chat(
        self,
        model: str = "",
        messages: Messages | None = None,
        *,
        stream: Literal[True],
        **more: Unpack[calls.ChatMore],
    ) -> AsyncIterator[types.ChatResponse]: ...

    async def chat(
        self, model: str = "", messages: Messages | None = None, *, stream: bool = False, **more: Any
    ) -> Any:
        """Return the next turn of a conversation; ``tools`` may be Python functions with type hints."""
        return await self._send(calls.chat(model, messages, more), stream=stream)

    @overload
    async def generate(
        self,
        model: str = "",
        prompt: str | None = None,
        suffix: str | None = None,
        *,
        stream: Literal[False] = False,
        **more: Unpack[calls.GenerateMore],
    ) -> types.GenerateResponse: ...

    @overload
    async def generate(
        self,
        model: str = "",
        prompt: str | None = None,
        suffix: str | None = None,
        *,
        stream: Literal[True],
        **more: Unpack[calls.GenerateMore],
    ) -> AsyncIterator[types.GenerateResponse]: ...

    async def generate(
        self,
        model: str = "",
        prompt: str | None = None,
        suffix: str | None = None,
        *,
        stream: bool = False,
        **more: Any,
    ) -> Any:
        """Return the answer to a prompt; with ``raw`` or ``suffix`` how the model goes on with it."""
        return await self._send(calls.generate(model, prompt, suffix, more), stream=stream)

    async def embed(  # noqa: PLR0917 - so it is in the API
        self,
        model: str = "",
        input: str | Sequence[str] = "",  # noqa: A002 - the API's name
        truncate: bool | None = None,
        options: OptionsLike | None = None,
        keep_alive: float | str | None = None,
        dimensions: int | None = None,
    ) -> types.EmbedResponse:
        """Return a vector for each input."""
        return await self._answer(
            calls.embed(model, input, truncate=truncate, options=options, keep_alive=keep_alive, dimensions=dimensions)
        )

    async def embeddings(
        self,
        model: str = "",
        prompt: str | None = None,
        options: OptionsLike | None = None,
        keep_alive: float | str | None = None,
    ) -> types.EmbeddingsResponse:
        """Return the vector of a prompt; ``embed`` is the newer way."""
        return await self._answer(calls.embeddings(model, prompt, options=options, keep_alive=keep_alive))

    async def list(self) -> types.ListResponse:
        """Return the models that there are."""
        return await self._answer(calls.listing())

    async def show(self, model: str) -> types.ShowResponse:
        """Return what is known of a model."""
        return await self._answer(calls.show(model))

    async def ps(self) -> types.ProcessResponse:
        """Return the models that are loaded."""
        return await self._answer(calls.running())

    @overload
    async def pull(
        self, model: str, *, insecure: bool = False, stream: Literal[False] = False
    ) -> types.ProgressResponse: ...

    @overload
    async def pull(
        self, model: str, *, insecure: bool = False, stream: Literal[True]
    ) -> AsyncIterator[types.ProgressResponse]: ...

    async def pull(self, model: str, *, insecure: bool = False, stream: bool = False) -> Any:
        """Fetch a model, where the server does that."""
        return await self._send(calls.pull(model, insecure), stream=stream)

    @overload
    async def push(
        self, model: str, *, insecure: bool = False, stream: Literal[False] = False
    ) -> types.ProgressResponse: ...

    @overload
    async def push(
        self, model: str, *, insecure: bool = False, stream: Literal[True]
    ) -> AsyncIterator[types.ProgressResponse]: ...

    async def push(self, model: str, *, insecure: bool = False, stream: bool = False) -> Any:
        """Upload a model, where the server does that."""
        return await self._send(calls.push(model, insecure), stream=stream)

    @overload
    async def create(
        self,
        model: str,
        quantize: str | None = None,
        from_: str | None = None,
        files: Mapping[str, str] | None = None,
        *,
        stream: Literal[False] = False,
        **more: Unpack[calls.CreateMore],
    ) -> types.ProgressResponse: ...

    @overload
    async def create(
        self,
        model: str,
        quantize: str | None = None,
        from_: str | None = None,
        files: Mapping[str, str] | None = None,
        *,
        stream: Literal[True],
        **more: Unpack[calls.CreateMore],
    ) -> AsyncIterator[types.ProgressResponse]: ...

    async def create(
        self,
        model: str,
        quantize: str | None = None,
        from_: str | None = None,
        files: Mapping[str, str] | None = None,
        *,
        stream: bool = False,
        **more: Any,
    ) -> Any:
        """Make a model of others or of files, where the server does that."""
        return await self._send(calls.create(model, quantize, from_, files, more), stream=stream)

    async def copy(self, source: str, destination: str) -> types.StatusResponse:
        """Give a model another name, where the server does that."""
        return await self._answer(calls.copy(source, destination))

    async def delete(self, model: str) -> types.StatusResponse:
        """Remove a model, where the server does that."""
        return await self._answer(calls.delete(model))

    async def aclose(self) -> None:
        await self._release()

    close = aclose

    async def _send(self, call: Call[T], *, stream: bool) -> T | AsyncIterator[T]:
        return self._answers(call) if stream else await self._answer(call)
