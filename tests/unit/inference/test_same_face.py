"""Names, parameters, fields and behaviour of the values: those of the official package."""

from __future__ import annotations

import asyncio
import copy
import inspect
import json
import pickle
from collections.abc import AsyncIterator, Iterator
from operator import attrgetter
from typing import Any

import ollama
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typing_extensions import assert_type

from provision import inference
from provision.inference import calls, types
from provision.inference.value import Value

CALLS = ["chat", "generate", "embed", "embeddings", "list", "show", "ps", "pull", "push", "create", "copy", "delete"]
NOT_OURS = {"web_search", "web_fetch", "systemone"}  # what only a service of Ollama's answers
NAMED = {"chat": calls.ChatMore, "generate": calls.GenerateMore, "create": calls.CreateMore}
SHARED = [
    name
    for name in ollama.__all__
    if not name.startswith(("SystemOne", "Web")) and issubclass(getattr(ollama, name), ollama.Options.__bases__[0])
]


def test_everything_that_is_imported_from_the_official_package_is_there() -> None:
    wanted = {name for name in ollama.__all__ if not name.startswith(("SystemOne", "Web"))}
    assert wanted <= set(inference.__all__)
    assert set(CALLS) <= set(inference.__all__)
    assert {name for name in vars(ollama) if name.islower() and callable(getattr(ollama, name))} <= {*CALLS, *NOT_OURS}


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("kind", ["Client", "AsyncClient"])
def test_a_call_takes_what_the_official_one_takes(kind: str, name: str) -> None:
    theirs = inspect.signature(getattr(getattr(ollama, kind), name)).parameters
    method = getattr(getattr(inference, kind), name)
    own = {**inspect.signature(method).parameters}
    assert inspect.iscoroutinefunction(method) == inspect.iscoroutinefunction(getattr(getattr(ollama, kind), name))
    more = set(NAMED[name].__annotations__) if own.pop("more", None) else set()
    assert set(theirs) == {*own, *more}
    places = [each for each, parameter in own.items() if parameter.kind is parameter.POSITIONAL_OR_KEYWORD]
    assert list(theirs)[: len(places)] == places


def test_what_a_call_does_not_take_is_refused_at_once() -> None:
    client = inference.Client("127.0.0.1:1", env={})
    with pytest.raises(TypeError, match="unexpected keyword argument 'modle'"):
        client.chat("m", [], modle="x")  # type: ignore[call-overload]


def test_both_clients_are_the_same_but_for_await() -> None:
    for name in CALLS:
        own, other = (inspect.signature(getattr(kind, name)) for kind in (inference.Client, inference.AsyncClient))
        assert own == other


def within(kind: Any, name: str) -> Iterator[str]:
    """The name of a type, and of all types in it."""
    yield name
    for part, each in vars(kind).items():
        if isinstance(each, type) and issubclass(each, pydantic.BaseModel):
            yield from within(each, f"{name}.{part}")


@pytest.mark.parametrize("name", [each for shared in SHARED for each in within(getattr(ollama, shared), shared)])
def test_a_type_has_the_fields_of_the_official_one(name: str) -> None:
    theirs, own = (attrgetter(name)(package) for package in (ollama, inference))
    assert set(theirs.model_fields) == set(own._fields())


MESSAGES = st.fixed_dictionaries(
    {"role": st.text()},
    optional={
        "content": st.none() | st.text(),
        "thinking": st.none() | st.text(),
        "tool_name": st.none() | st.text(),
        "unheard_of": st.integers(),
        "tool_calls": st.none()
        | st.lists(
            st.fixed_dictionaries(
                {
                    "function": st.fixed_dictionaries(
                        {"name": st.text(), "arguments": st.dictionaries(st.text(), st.integers())}
                    )
                }
            )
        ),
    },
)


@given(MESSAGES)
def test_a_message_behaves_as_the_official_one(document: dict[str, Any]) -> None:
    theirs, own = ollama.Message(**document), inference.Message(**document)
    assert own.model_dump() == theirs.model_dump()
    assert own.model_dump(exclude_none=True) == theirs.model_dump(exclude_none=True)
    assert own.model_dump(exclude_unset=True) == theirs.model_dump(exclude_unset=True)
    assert json.loads(own.model_dump_json()) == json.loads(theirs.model_dump_json())
    assert [name for name, _ in own] == [name for name, _ in theirs]
    for key in (*document, "nothing", "content", "tool_calls"):
        assert (key in own) == (key in theirs)
        assert str(own.get(key, 7)) == str(theirs.get(key, 7)) or key == "tool_calls"
        if key not in own:
            with pytest.raises(KeyError):
                own[key]
    assert ollama.Message(**own.model_dump()) == theirs


def test_values_are_changed_compared_copied_and_pickled() -> None:
    message = inference.Message(role="user", content="Hi")
    message["content"] = "Ho"
    assert (message.content, message["content"]) == ("Ho", "Ho")
    assert message == inference.Message(role="user", content="Ho") != inference.Message(role="user")
    assert copy.deepcopy(message) == message == pickle.loads(pickle.dumps(message))  # noqa: S301
    assert inference.Message.model_validate(message) is message
    assert repr(inference.StatusResponse(status="x")) == "StatusResponse(status='x')"


def test_what_does_not_fit_is_a_value_error() -> None:
    for kind, document in (
        (inference.Message, {}),
        (inference.Message, {"role": 3.5}),
        (types.Logprob, {"token": "x"}),
    ):
        with pytest.raises(ValueError, match=r"needs|Expected"):
            kind(**document)
    with pytest.raises(ValueError, match="not made of"):
        inference.ChatResponse(message="text")  # type: ignore[arg-type]


def test_fields_that_documents_call_otherwise() -> None:
    document: dict[str, Any] = {"model_info": {"a": 1}}
    shown = inference.ShowResponse(**document)
    assert (shown.modelinfo, shown["modelinfo"]) == ({"a": 1}, {"a": 1})
    assert shown.model_dump(exclude_none=True) == {"modelinfo": {"a": 1}}


def the_types_of_the_answers(client: inference.Client, other: inference.AsyncClient) -> None:
    """Read by mypy, and never run."""
    assert_type(client.chat("m"), inference.ChatResponse)
    assert_type(client.chat("m", stream=False).message.content, str | None)
    assert_type(client.chat("m", stream=True), Iterator[inference.ChatResponse])
    assert_type(client.generate("m", "p"), inference.GenerateResponse)
    assert_type(client.generate("m", "p", stream=True, raw=True), Iterator[inference.GenerateResponse])
    assert_type(client.pull("m", stream=True), Iterator[inference.ProgressResponse])

    async def awaited() -> None:
        assert_type(await other.chat("m"), inference.ChatResponse)
        assert_type(await other.chat("m", stream=True), AsyncIterator[inference.ChatResponse])

    asyncio.run(awaited())


def test_every_type_is_a_value() -> None:
    assert all(issubclass(getattr(inference, name), Value) for name in SHARED)
    assert len(SHARED) >= 11
