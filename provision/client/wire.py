"""Answers of ``/v1/chat/completions`` as servers send them: what is missing, ``null`` or unknown does no harm. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, TypeVar

import msgspec

from provision.client.answers import Delta, ToolCall, ToolCallPart, Usage
from provision.client.errors import AnswerError
from provision.client.peer import Peer

T = TypeVar("T")

_UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


class _Cached(msgspec.Struct):
    cached_tokens: int | None = None


class WireUsage(msgspec.Struct):
    """``usage``."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    prompt_tokens_details: _Cached | None = None

    def value(self) -> Usage:
        """Return it as a value; a count that is missing is 0."""
        cached = self.prompt_tokens_details.cached_tokens if self.prompt_tokens_details else None
        return Usage(self.prompt_tokens or 0, self.completion_tokens or 0, cached)


class _Function(msgspec.Struct):
    name: str | None = None
    arguments: str | dict[str, Any] | None = None  # some servers send the object itself


class Call(msgspec.Struct):
    """One of ``tool_calls``, or a piece of it."""

    index: int | None = None
    id: str | None = None
    function: _Function | None = None


class Said(msgspec.Struct):
    """``message`` of a whole answer, ``delta`` of a piece. Servers name what the model thinks in two ways."""

    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    refusal: str | None = None
    tool_calls: list[Call] | None = None

    @property
    def text(self) -> str:
        """What a reader is shown: a refusal is an answer."""
        return self.content or self.refusal or ""

    @property
    def thought(self) -> str:
        """What the model thinks before it answers."""
        return self.reasoning_content or self.reasoning or ""


class _Logprobs(msgspec.Struct):
    content: tuple[dict[str, Any], ...] | None = None


class Choice(msgspec.Struct):
    """One of ``choices``."""

    index: int | None = None
    delta: Said | None = None
    message: Said | None = None
    text: str | None = None  # of /v1/completions
    finish_reason: str | None = None
    logprobs: _Logprobs | None = None

    @property
    def likely(self) -> tuple[dict[str, Any], ...]:
        """The tokens with their probabilities, as the server tells them."""
        return self.logprobs.content or () if self.logprobs else ()

    @property
    def said(self) -> Said:
        """The message or the piece of it."""
        return self.delta or self.message or Said(self.text)


class Document(msgspec.Struct):
    """A chunk or a whole completion. The first choice counts, wherever it stands."""

    choices: list[Choice] | None = None
    usage: WireUsage | None = None
    model: str | None = None
    error: Any = None
    object: Any = None
    message: Any = None

    @property
    def choice(self) -> Choice:
        """The choice that counts, an empty one where there is none."""
        return next((choice for choice in self.choices or () if not choice.index), Choice())

    @property
    def refusal(self) -> Any:
        """What the server reports in place of an answer, in one of the two usual forms; else ``None``."""
        if self.error is not None:
            return {"error": self.error}
        return {"message": self.message} if self.object == "error" else None


_documents = msgspec.json.Decoder(Document)


def read_document(data: str | bytes, peer: Peer) -> Document:
    """Return a chunk or completion. Raises ``AnswerError`` for anything else; it may have a ``refusal``."""
    try:
        return _documents.decode(data)
    except _UNREADABLE as error:
        raise no_answer(peer, data.encode() if isinstance(data, str) else data, str(error)) from error


def read_value(data: bytes, shape: type[T], peer: Peer) -> tuple[T, dict[str, Any]]:
    """Return an answer of this shape, and the document as it came. Raises ``AnswerError``."""
    try:
        raw = msgspec.json.decode(data)
        return msgspec.convert(raw, shape), raw
    except _UNREADABLE as error:
        raise no_answer(peer, data, str(error)) from error


def no_answer(peer: Peer, body: bytes, why: str) -> AnswerError:
    """Return the error for a body that is not what was asked for."""
    return AnswerError(
        f"What {peer.where} sends is no answer of a model server ({why}): {peer.said(body)}",
        "Check that the base URL leads to a model server, and not to a web page or a proxy.",
    )


def part_of(call: Call, index: int) -> ToolCallPart:
    """Return a piece of the call that has this number."""
    function = call.function or _Function()
    return ToolCallPart(index, call.id or "", function.name or "", _text(function.arguments))


def join_calls(parts: Iterable[ToolCallPart]) -> tuple[ToolCall, ...]:
    """Put the pieces of calls together: each keeps its first id and name."""
    calls: dict[int, ToolCall] = {}
    for part in parts:
        so_far = calls.get(part.index, ToolCall("", "", ""))
        calls[part.index] = ToolCall(so_far.id or part.id, so_far.name or part.name, so_far.arguments + part.arguments)
    return tuple(calls[index] for index in sorted(calls))


def whole_as_delta(document: Document, at_ns: int) -> Delta:
    """Return a whole completion as the one piece of a stream."""
    choice = document.choice
    usage = document.usage.value() if document.usage else None
    said = choice.said
    calls = tuple(part_of(call, place) for place, call in enumerate(said.tool_calls or ()))
    finish_reason = choice.finish_reason or "stop"
    return Delta(said.text, said.thought, calls, finish_reason, usage, at_ns, choice.likely)


def _text(arguments: str | dict[str, Any] | None) -> str:
    return json.dumps(arguments) if isinstance(arguments, dict) else arguments or ""
