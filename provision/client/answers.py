"""What a model answers, whole and in pieces."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import msgspec


class Usage(msgspec.Struct, frozen=True):
    """Tokens, as the server counts them. ``cached_tokens`` of the prompt were known from before, where it tells."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int | None = None

    @property
    def total_tokens(self) -> int:
        """Those of the prompt and of the answer."""
        return self.prompt_tokens + self.completion_tokens


class ToolCall(msgspec.Struct, frozen=True):
    """A function that the model wants called. ``arguments`` is the text of a JSON object."""

    id: str
    name: str
    arguments: str

    def parsed(self) -> dict[str, Any]:
        """Return the arguments. Raises ``ValueError`` where the model wrote no JSON object."""
        value = json.loads(self.arguments or "{}")
        if not isinstance(value, dict):
            raise ValueError(f"the arguments of {self.name} are no JSON object")  # noqa: TRY004 - it is the model that is wrong
        return value


class ToolCallPart(msgspec.Struct, frozen=True):
    """A piece of a call in a stream: pieces of one ``index`` belong together; ``arguments`` are to be joined."""

    index: int
    id: str = ""
    name: str = ""
    arguments: str = ""


class Delta(msgspec.Struct, frozen=True):
    """A piece of an answer.

    ``reasoning`` is what the model thinks before it answers, however its server marks that. The last piece has
    ``finish_reason``, one after it ``usage``. ``at_ns`` is when the piece was read (``time.perf_counter_ns``).
    ``logprobs`` are the tokens of the piece with their probabilities, as the server tells them where it is asked.
    """

    content: str = ""
    reasoning: str = ""
    tool_calls: tuple[ToolCallPart, ...] = ()
    finish_reason: str | None = None
    usage: Usage | None = None
    at_ns: int = 0
    logprobs: tuple[Mapping[str, Any], ...] = ()


class Timing(msgspec.Struct, frozen=True):
    """When the request left, when the first piece of the answer came, and the last: ``time.perf_counter_ns``.

    Of an answer that came whole, the first piece is the last.
    """

    sent_ns: int
    first_ns: int
    ended_ns: int


class Completion(msgspec.Struct, frozen=True):
    """A whole answer.

    ``finish_reason`` is ``stop``, ``length``, ``tool_calls`` or a word of the server's own. ``logprobs`` are there
    where they were asked for, a document for each token as in OpenAI's API.
    """

    content: str
    reasoning: str
    tool_calls: tuple[ToolCall, ...]
    finish_reason: str | None
    usage: Usage | None
    model: str
    timing: Timing
    logprobs: tuple[Mapping[str, Any], ...] = ()


class Embeddings(msgspec.Struct, frozen=True):
    """A vector for each input, in their order."""

    vectors: tuple[tuple[float, ...], ...]
    model: str
    usage: Usage | None


class ServedModel(msgspec.Struct, frozen=True):
    """A model that a server lists. ``created`` is in seconds since the epoch; ``raw`` is all that the server tells."""

    id: str
    created: int = 0
    owned_by: str = ""
    raw: Mapping[str, Any] = {}
