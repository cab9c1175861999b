"""What an application needs of a language model: it depends on this, and on no engine."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, TypedDict

from provision.client.answers import Completion, Delta, Embeddings, ServedModel

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack

Messages: TypeAlias = str | Sequence[Mapping[str, Any]]
"""The conversation in OpenAI's form, images and results of tools included; a text alone is one turn of the user's."""


class Options(TypedDict, total=False):
    """How to answer. What is left out, or ``None``, is not sent: the server decides.

    ``max_tokens`` bounds the answer; ``json_schema`` makes it a JSON document of that schema. ``extra`` are fields of
    the request that only some servers know. ``tools`` and ``response_format`` are as in OpenAI's API.
    """

    temperature: float | None
    top_p: float | None
    max_tokens: int | None
    stop: str | Sequence[str] | None
    seed: int | None
    presence_penalty: float | None
    frequency_penalty: float | None
    logprobs: bool | None
    tools: Sequence[Mapping[str, Any]] | None
    tool_choice: str | Mapping[str, Any] | None
    parallel_tool_calls: bool | None
    json_schema: Mapping[str, Any] | None
    response_format: Mapping[str, Any] | None
    reasoning_effort: str | None
    extra: Mapping[str, Any] | None


class AnswerStream(Protocol):
    """An answer as it is generated: iterate over it. Leaving it, or cancelling the task, stops the generation.

    ::

        async with client.stream("Tell me a story.", model) as pieces:
            async for piece in pieces:
                print(piece.content, end="")
    """

    def __aiter__(self) -> AsyncIterator[Delta]: ...

    async def __anext__(self) -> Delta: ...

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    async def aclose(self) -> None:
        """Stop the generation, if it still goes on."""

    def completion(self) -> Completion:
        """Return the answer as far as it has come."""


class ChatClient(Protocol):
    """A language model behind a server. Every method raises ``ClientError`` where the server does not serve."""

    async def chat(self, messages: Messages, model: str, **options: Unpack[Options]) -> str:
        """Return the text of the answer."""

    async def complete(self, messages: Messages, model: str, **options: Unpack[Options]) -> Completion:
        """Return the whole answer."""

    def stream(self, messages: Messages, model: str, **options: Unpack[Options]) -> AnswerStream:
        """Return the answer piece by piece; the request is sent when the first one is asked for."""

    async def embed(self, inputs: str | Sequence[str], model: str, *, dimensions: int | None = None) -> Embeddings:
        """Return a vector for each input."""

    async def models(self) -> list[ServedModel]:
        """Return what the server lists."""

    async def aclose(self) -> None:
        """Close the connections that are kept."""
