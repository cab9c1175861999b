"""``Client``: every call without ``await``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeVar, overload

from provision.client.blocking import PORTAL, Blocking
from provision.client.closing import Closing
from provision.inference import calls, types
from provision.inference.calls import Call
from provision.inference.client import BaseClient
from provision.inference.documents import Messages, OptionsLike
from provision.inference.value import Value

if TYPE_CHECKING:
    from typing_extensions import Unpack

T = TypeVar("T", bound=Value)


class Client(BaseClient, Closing):
    """Ollama's client for any backend; it may be used from several threads. See ``BaseClient`` for what it takes.

    ``stream=True`` gives the answer piece by piece; leaving the loop over it stops the generation.
    """

    @overload
    def chat(
        self,
        model: str = "",
        messages: Messages | None = None,
        *,
        stream: Literal[False] = False,
        **more: Unpack[calls.ChatMore],
    ) -> types.ChatResponse: ...

    @overload
    def chat(
        self,
        model: str = "",
        messages: Messages | None = None,
        *,
        stream: Literal[True],
        **more: Unpack[calls.ChatMore],
    ) -> Iterator[types.ChatResponse]: ...

    def chat(self, model: str = "", messages: Messages | None = None, *, stream: bool = False, **more: Any) -> Any:
        """Return the next turn of a conversation; ``tools`` may be Python functions with type hints."""
        return self._send(calls.chat(model, messages, more), stream=stream)

    @overload
    def generate(
        self,
        model: str = "",
        prompt: str | None = None,
        suffix: str | None = None,
        *,
        stream: Literal[False] = False,
        **more: Unpack[calls.GenerateMore],
    ) -> types.GenerateResponse: ...

    @overload
    def generate(
        self,
        model: str = "",
        prompt: str | None = None,
        suffix: str | None = None,
        *,
        stream: Literal[True],
        **more: Unpack[calls.GenerateMore],
    ) -> Iterator[types.GenerateResponse]: ...

    def generate(
        self,
        model: str = "",
        prompt: str | None = None,
        suffix: str | None = None,
        *,
        stream: bool = False,
        **more: Any,
    ) -> Any:
        """Return the answer to a prompt; with ``raw`` or ``suffix`` how the model goes on with it."""
        return self._send(calls.generate(model, prompt, suffix, more), stream=stream)

    def embed(  # noqa: PLR0917 - so it is in the API
        self,
        model: str = "",
        input: str | Sequence[str] = "",  # noqa: A002 - the API's name
        truncate: bool | None = None,
        options: OptionsLike | None = None,
        keep_alive: float | str | None = None,
        dimensions: int | None = None,
    ) -> types.EmbedResponse:
        """Return a vector for each input."""
        return self._whole(
            calls.embed(model, input, truncate=truncate, options=options, keep_alive=keep_alive, dimensions=dimensions)
        )

    def embeddings(
        self,
        model: str = "",
        prompt: str | None = None,
        options: OptionsLike | None = None,
        keep_alive: float | str | None = None,
    ) -> types.EmbeddingsResponse:
        """Return the vector of a prompt; ``embed`` is the newer way."""
        return self._whole(calls.embeddings(model, prompt, options=options, keep_alive=keep_alive))

    def list(self) -> types.ListResponse:
        """Return the models that there are."""
        return self._whole(calls.listing())

    def show(self, model: str) -> types.ShowResponse:
        """Return what is known of a model."""
        return self._whole(calls.show(model))

    def ps(self) -> types.ProcessResponse:
        """Return the models that are loaded."""
        return self._whole(calls.running())

    @overload
    def pull(self, model: str, *, insecure: bool = False, stream: Literal[False] = False) -> types.ProgressResponse: ...

    @overload
    def pull(
        self, model: str, *, insecure: bool = False, stream: Literal[True]
    ) -> Iterator[types.ProgressResponse]: ...

    def pull(self, model: str, *, insecure: bool = False, stream: bool = False) -> Any:
        """Fetch a model, where the server does that."""
        return self._send(calls.pull(model, insecure), stream=stream)

    @overload
    def push(self, model: str, *, insecure: bool = False, stream: Literal[False] = False) -> types.ProgressResponse: ...

    @overload
    def push(
        self, model: str, *, insecure: bool = False, stream: Literal[True]
    ) -> Iterator[types.ProgressResponse]: ...

    def push(self, model: str, *, insecure: bool = False, stream: bool = False) -> Any:
        """Upload a model, where the server does that."""
        return self._send(calls.push(model, insecure), stream=stream)

    @overload
    def create(
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
    def create(
        self,
        model: str,
        quantize: str | None = None,
        from_: str | None = None,
        files: Mapping[str, str] | None = None,
        *,
        stream: Literal[True],
        **more: Unpack[calls.CreateMore],
    ) -> Iterator[types.ProgressResponse]: ...

    def create(
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
        return self._send(calls.create(model, quantize, from_, files, more), stream=stream)

    def copy(self, source: str, destination: str) -> types.StatusResponse:
        """Give a model another name, where the server does that."""
        return self._whole(calls.copy(source, destination))

    def delete(self, model: str) -> types.StatusResponse:
        """Remove a model, where the server does that."""
        return self._whole(calls.delete(model))

    def close(self) -> None:
        """Close the connections that are kept."""
        PORTAL.run(self._release())

    def _whole(self, call: Call[T]) -> T:
        PORTAL.keep(self._endpoints)
        return PORTAL.run(self._answer(call))

    def _send(self, call: Call[T], *, stream: bool) -> T | Iterator[T]:
        PORTAL.keep(self._endpoints)
        return Blocking(self._answers(call)) if stream else self._whole(call)
