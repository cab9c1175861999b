"""The official package and ours make the same calls on one server: the same shapes, words and counts come back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import ollama
import pytest

from provision import inference
from tests.standin.ollama_server import OllamaServer
from tests.unit.inference.conftest import MODEL, NATIVE, Ours
from tests.unit.inference.shapes import shape

HELLO = [{"role": "user", "content": "Say hello."}]
SHORT: dict[str, Any] = {"num_predict": 4, "temperature": 0, "seed": 1}
SCHEMA = {"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"]}


def weather(city: str) -> str:
    """Tell the weather.

    Args:
        city: Where
    """
    return f"sunny in {city}"


CALLED = [
    *HELLO,
    {"role": "assistant", "tool_calls": [{"function": {"name": "weather", "arguments": {"city": "Oslo"}}}]},
    {"role": "tool", "tool_name": "weather", "content": "sunny"},
]

ANSWERS: dict[str, Callable[[Any], Any]] = {
    "a turn": lambda client: client.chat(MODEL, HELLO, options=SHORT),
    "by names": lambda client: client.chat(model=MODEL, messages=HELLO, options=SHORT),
    "two turns": lambda client: client.chat(MODEL, [{"role": "system", "content": "Be brief."}, *HELLO], options=SHORT),
    "thinking": lambda client: client.chat(MODEL, HELLO, think=True, options=SHORT),
    "thinking a lot": lambda client: client.generate(MODEL, "Say hello.", think="high", options=SHORT),
    "JSON": lambda client: client.chat(MODEL, HELLO, format="json", options=SHORT),
    "a schema": lambda client: client.chat(MODEL, HELLO, format=SCHEMA, options=SHORT),
    "a tool": lambda client: client.chat(MODEL, HELLO, tools=[weather], options=SHORT),
    "after a tool": lambda client: client.chat(MODEL, CALLED, tools=[weather], options=SHORT),
    "a prompt": lambda client: client.generate(MODEL, "Say hello.", options=SHORT),
    "a system prompt": lambda client: client.generate(MODEL, "Say hello.", system="Be brief.", options=SHORT),
    "a raw prompt": lambda client: client.generate(MODEL, "Once upon", raw=True, options=SHORT),
}
OTHERS: dict[str, Callable[[Any], Any]] = {
    "a model to load": lambda client: client.generate(MODEL),
    "no turns": lambda client: client.chat(MODEL),
    "an embedding": lambda client: client.embed(MODEL, "one"),
    "embeddings": lambda client: client.embed(model=MODEL, input=["one", "two"]),
    "an embedding as of old": lambda client: client.embeddings(MODEL, "one"),
}
STREAMS: dict[str, Callable[[Any], Any]] = {
    "turns": lambda client: client.chat(MODEL, HELLO, stream=True, options=SHORT),
    "thoughts": lambda client: client.chat(MODEL, HELLO, stream=True, think=True, options=SHORT),
    "tools": lambda client: client.chat(MODEL, HELLO, stream=True, tools=[weather], options=SHORT),
    "a prompt": lambda client: client.generate(MODEL, "Say hello.", stream=True, options=SHORT),
}
VARY = {"created_at", "total_duration", "load_duration", "prompt_eval_duration", "eval_duration", "expires_at"}


def said(answer: Any) -> dict[str, Any]:
    """Everything of an answer but times."""
    return {name: value for name, value in answer.model_dump(exclude_none=True).items() if name not in VARY}


@pytest.mark.parametrize("name", ANSWERS)
def test_answers_are_alike(name: str, official: ollama.Client, ours: Ours) -> None:
    theirs, own = ANSWERS[name](official), ANSWERS[name](ours.client)
    assert shape(own) == shape(theirs)
    assert said(own) == said(theirs)
    assert own.total_duration >= own.prompt_eval_duration + own.eval_duration
    assert own.eval_duration > 0


@pytest.mark.parametrize("name", OTHERS)
def test_what_else_is_asked_is_alike(name: str, official: ollama.Client, ours: Ours) -> None:
    theirs, own = OTHERS[name](official), OTHERS[name](ours.client)
    assert shape(own) == shape(theirs)
    assert said(own) == said(theirs)


def joined(parts: list[Any]) -> tuple[str, str, list[Any]]:
    """The text, the thoughts and the calls of a stream."""
    places = [part.get("message") or part for part in parts]
    text = "".join(place.get("content") or place.get("response") or "" for place in places)
    return text, "".join(place.get("thinking") or "" for place in places), [place.get("tool_calls") for place in places]


@pytest.mark.parametrize("name", STREAMS)
def test_streams_are_alike(name: str, official: ollama.Client, ours: Ours) -> None:
    theirs, own = list(STREAMS[name](official)), list(STREAMS[name](ours.client))
    assert joined(own)[:2] == joined(theirs)[:2]
    calls = [[shape(found) for found in joined(parts)[2] if found] for parts in (own, theirs)]
    assert calls[0] == calls[1]
    assert [part.done for part in own].count(True) == 1
    assert shape(own[-1]) == shape(theirs[-1])
    assert said(own[-1]) == said(theirs[-1])
    assert {str(shape(part)) for part in own} == {str(shape(part)) for part in theirs}


def test_a_model_is_listed_and_shown_as_far_as_the_server_tells(official: ollama.Client, ours: Ours) -> None:
    official.generate(MODEL)
    firsts: list[Callable[[Any], Any]] = [lambda client: client.list().models[0], lambda client: client.ps().models[0]]
    for call in firsts:
        theirs, own = call(official), call(ours.client)
        assert own.model == theirs.model
        assert own.details
        if ours.way == NATIVE:
            assert shape(own) == shape(theirs)
            assert said(own) == said(theirs)
        else:
            assert set(shape(own)) <= set(shape(theirs))
    theirs, own = official.show(MODEL), ours.client.show(MODEL)
    assert own.modelinfo
    assert own.capabilities == theirs.capabilities
    if ours.way == NATIVE:
        assert said(own) == said(theirs)


@pytest.mark.parametrize(
    "call",
    [
        lambda client: client.chat("nothere", HELLO),
        lambda client: client.generate("nothere", "Hi"),
        lambda client: client.show("nothere"),
        lambda client: client.embed("nothere", "one"),
        lambda client: list(client.chat("nothere", HELLO, stream=True)),
    ],
)
def test_an_unknown_model_is_a_404_that_names_it(call: Any, official: ollama.Client, ours: Ours) -> None:
    with pytest.raises(ollama.ResponseError) as theirs:
        call(official)
    with pytest.raises(inference.ResponseError, match="nothere") as own:
        call(ours.client)
    assert own.value.status_code == theirs.value.status_code == 404
    if ours.way == NATIVE:
        assert str(own.value) == str(theirs.value)


def test_models_are_made_copied_and_removed_where_the_server_does_that(official: ollama.Client, ours: Ours) -> None:
    if ours.way == NATIVE:
        assert said(ours.client.create("made", from_=MODEL)) == said(official.create("made", from_=MODEL))
        steps = [
            [said(step) for step in client.create("made", from_=MODEL, stream=True)]
            for client in (official, ours.client)
        ]
        assert steps[0] == steps[1]
        assert said(ours.client.copy("made", "other")) == {"status": "success"}
        assert {"made:latest", "other:latest"} <= {str(model.model) for model in ours.client.list().models}
        assert [ours.client.delete(name).status for name in ("made", "other")] == ["success", "success"]
    else:
        refused: list[Callable[[], Any]] = [
            lambda: ours.client.pull("x"),
            lambda: ours.client.copy(MODEL, "x"),
            lambda: ours.client.delete("x"),
        ]
        for call in refused:
            with pytest.raises(inference.ResponseError, match=r"fabric models pull") as caught:
                call()
            assert caught.value.status_code == 501


def test_what_is_awaited_is_alike(both_apis: OllamaServer, ours: Ours) -> None:
    path = "" if ours.way == NATIVE else "/v1"

    async def ask(client: Any) -> list[Any]:
        async with client:
            whole = await client.chat(MODEL, HELLO, options=SHORT)
            parts = [part async for part in await client.generate(MODEL, "Hi", stream=True, options=SHORT)]
            return [said(whole), [said(part) for part in parts if part.response], said(await client.embed(MODEL, "x"))]

    theirs = asyncio.run(ask(ollama.AsyncClient(both_apis.base_url)))
    own = asyncio.run(ask(inference.AsyncClient(both_apis.base_url + path, backend="ollama", env={})))
    assert own == theirs
