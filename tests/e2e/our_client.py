"""What a caller needs of a server, asked with ``provision.client``; it knows no engine."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from provision.client import ChatClient, NotFoundError, OpenAICompatibleClient, StatusError, SyncClient
from tests.e2e.openai_client import SCHEMA

QUESTION = "Say hello."
WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "Tell the weather of a city.",
        "strict": True,
        "parameters": {
            "type": "object",
            "properties": {"city": {"enum": ["Oslo", "Paris", "Rome"]}},  # the model would not come to an end of itself
            "required": ["city"],
        },
    },
}
NAMED: dict[str, Any] = {"type": "function", "function": {"name": "weather"}}


def use_with_our_client(base_url: str, model: str, key: str | None = None) -> None:
    """Fail unless the model is listed, answers whole and in pieces, and keeps to a schema, with and without await."""
    asyncio.run(_ask(base_url, model, key))
    with SyncClient(OpenAICompatibleClient(base_url, key)) as client:
        assert client.chat(QUESTION, model, max_tokens=8)
        with client.stream(QUESTION, model, max_tokens=8) as pieces:
            assert "".join(piece.content for piece in pieces) == pieces.completion().content != ""


async def _ask(base_url: str, model: str, key: str | None) -> None:
    async with OpenAICompatibleClient(base_url, key) as client:
        assert [each.id.removesuffix(":latest") for each in await client.models()] == [model]
        await _whole_and_in_pieces(client, model)

        said = await client.chat(
            "Is all well? Answer in JSON.", model, max_tokens=64, temperature=0, json_schema=SCHEMA
        )
        assert json.loads(said).keys() == {"ok"}
        await _embed(client, model)


async def _whole_and_in_pieces(client: ChatClient, model: str) -> None:
    whole = await client.complete(QUESTION, model, max_tokens=8, temperature=0)
    assert whole.content
    assert whole.finish_reason in ("stop", "length")
    assert whole.usage is not None
    assert 0 < whole.usage.completion_tokens <= 8
    async with client.stream(QUESTION, model, max_tokens=8, temperature=0) as stream:
        pieces = [piece async for piece in stream]
    again = stream.completion()
    assert "".join(piece.content for piece in pieces) == again.content
    assert again.content == whole.content
    assert (again.finish_reason, again.usage and again.usage.completion_tokens) == (
        whole.finish_reason,
        whole.usage.completion_tokens,
    )
    assert again.timing.sent_ns < again.timing.first_ns <= again.timing.ended_ns


async def _embed(client: ChatClient, model: str) -> None:
    """A server that was started for chat has vectors, or says in its own words that it has none."""
    try:
        vectors = (await client.embed("hello", model)).vectors
    except StatusError as refusal:
        if refusal.status not in (400, 404, 501) or not refusal.said:
            raise
    else:
        assert [len(vector) > 1 for vector in vectors] == [True]


async def call_a_tool(client: ChatClient, model: str, messages: Any, choice: Any) -> None:
    """Fail unless the model calls the function, whole and in pieces."""
    wanted: dict[str, Any] = {"tools": [WEATHER], "tool_choice": choice, "max_tokens": 60, "temperature": 0}
    whole = await client.complete(messages, model, **wanted)
    (call,) = whole.tool_calls
    assert call.name == "weather"
    assert call.parsed().keys() == {"city"}
    async with client.stream(messages, model, **wanted) as stream:
        async for _ in stream:
            pass
    (again,) = stream.completion().tool_calls
    assert (again.name, again.parsed()) == (call.name, call.parsed())
    assert again.id


def refuse_unknown_model(base_url: str) -> None:
    """Fail unless the server's own words about a model that it does not have come through."""
    with SyncClient(OpenAICompatibleClient(base_url)) as client, pytest.raises(NotFoundError) as told:
        client.chat(QUESTION, "no-such-model")
    assert "no-such-model" in told.value.said
