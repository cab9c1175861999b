"""The parts of an answer of ``llama-server``, as the stand-in for Ollama reads them."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import IO, Any

from tests.standin.ollama_disk import RefusalError


@dataclass
class Piece:
    """A part of an answer; the last one has a ``reason`` and the counts."""

    text: str = ""
    thinking: str = ""
    reason: str | None = None
    prompt_tokens: int = 0
    tokens: int = 0
    calls: list[dict[str, Any]] = field(default_factory=list)


def whole(answer: dict[str, Any]) -> Piece:
    choice, usage = answer["choices"][0], answer.get("usage", {})
    reasoning = choice["message"].get("reasoning_content") or ""
    counts = usage.get("prompt_tokens", 0), usage.get("completion_tokens", 0)
    calls = [call["function"] for call in choice["message"].get("tool_calls") or ()]
    return Piece(
        choice["message"].get("content") or "", reasoning, choice["finish_reason"] or "stop", *counts, _parsed(calls)
    )


def _parsed(functions: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return calls of tools as upstream tells them: with objects for arguments."""
    return [{"name": each["name"], "arguments": json.loads(each["arguments"] or "{}")} for each in functions]


def pieces(answer: IO[bytes] | http.client.HTTPResponse) -> Iterator[Piece]:
    end, functions = Piece(reason="stop"), dict[int, dict[str, Any]]()
    for line in answer:
        if not line.startswith(b"data: ") or line.strip() == b"data: [DONE]":
            continue
        event = json.loads(line[6:])
        if "error" in event:
            raise RefusalError(500, f"an error was encountered while running the model: {event['error']['message']}")
        if event.get("usage"):
            end.prompt_tokens = event["usage"]["prompt_tokens"]
            end.tokens = event["usage"]["completion_tokens"]
        for choice in event["choices"]:
            end.reason = choice.get("finish_reason") or end.reason
            delta = choice["delta"]
            if delta.get("content") or delta.get("reasoning_content"):
                yield Piece(delta.get("content") or "", delta.get("reasoning_content") or "")
            _join(functions, delta.get("tool_calls") or ())
    if functions:
        yield Piece(calls=_parsed([*functions.values()]))
    yield end


def _join(functions: dict[int, dict[str, Any]], calls: Iterable[dict[str, Any]]) -> None:
    """Add pieces of calls to those that came before."""
    for call in calls:
        known = functions.setdefault(call["index"], {"name": call["function"].get("name"), "arguments": ""})
        known["arguments"] += call["function"].get("arguments") or ""
