"""Values that are made of other values, and what pydantic's models do: as with the official package."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any

import ollama
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ByteSize

from provision import inference
from provision.inference import byte_size
from provision.inference.documents import message_documents, tool_documents

BUILT: dict[str, Callable[[Any], Any]] = {
    "a call": lambda lib: lib.Message.ToolCall(
        function=lib.Message.ToolCall.Function(name="f", arguments={"a": [1, {"b": None}]})
    ),
    "a turn with calls": lambda lib: lib.Message(role="assistant", tool_calls=[BUILT["a call"](lib)]),
    "a turn with calls of another": lambda lib: lib.Message(
        role="assistant", tool_calls=BUILT["a turn with calls"](lib).tool_calls
    ),
    "an answer": lambda lib: lib.ChatResponse(message=BUILT["a turn with calls"](lib), eval_count=3),
    "a property": lambda lib: lib.Tool.Function.Parameters.Property(type=["string", "null"], description="Which"),
    "parameters": lambda lib: lib.Tool.Function.Parameters(
        type="object", required=["c"], properties={"c": BUILT["a property"](lib)}, defs={"x": {"type": "string"}}
    ),
    "a tool": lambda lib: lib.Tool(function=lib.Tool.Function(name="f", parameters=BUILT["parameters"](lib))),
    "a list": lambda lib: lib.ListResponse(
        models=[
            lib.ListResponse.Model(model="m", size=5_000_000_000, modified_at="2026-01-02T03:04:05Z", details={}),
            {"model": "n"},
        ]
    ),
    "what runs": lambda lib: lib.ProcessResponse(models=[lib.ProcessResponse.Model(name="m", size_vram=7)]),
    "a vector": lambda lib: lib.EmbedResponse(embeddings=[[1.0, 2.0]], model="m"),
}
DUMPS: dict[str, dict[str, Any]] = {
    "all": {},
    "what says something": {"exclude_none": True},
    "what was given": {"exclude_unset": True},
    "what is not usual": {"exclude_defaults": True},
    "named ones": {"include": {"message", "function", "role", "models"}},
    "all but some": {"exclude": {"function", "message", "embeddings"}},
}


@pytest.mark.parametrize("name", BUILT)
@pytest.mark.parametrize("chosen", DUMPS)
def test_a_value_is_made_of_values_and_dumped_as_the_official_one(name: str, chosen: str) -> None:
    theirs, own = BUILT[name](ollama), BUILT[name](inference)
    assert own.model_dump(**DUMPS[chosen]) == theirs.model_dump(**DUMPS[chosen])
    assert own.model_dump(mode="json", **DUMPS[chosen]) == theirs.model_dump(mode="json", **DUMPS[chosen])
    for indent in (None, 2):
        text = own.model_dump_json(indent=indent, **DUMPS[chosen])
        assert text == theirs.model_dump_json(indent=indent, **DUMPS[chosen])


@pytest.mark.parametrize("name", BUILT)
def test_a_value_is_read_and_copied_as_the_official_one(name: str) -> None:
    theirs, own = BUILT[name](ollama), BUILT[name](inference)
    assert type(own).model_validate_json(theirs.model_dump_json(by_alias=True)) == type(own)(**own.model_dump())
    assert own.model_fields_set == theirs.model_fields_set
    assert own.model_copy() == own.model_copy(deep=True) == own is not own.model_copy()


@pytest.mark.parametrize("deep", [False, True])
def test_a_deep_copy_shares_nothing(deep: bool) -> None:
    for lib in (ollama, inference):
        answer = BUILT["an answer"](lib)
        assert (answer.model_copy(deep=deep).message is answer.message) is not deep


def test_a_copy_may_say_something_else() -> None:
    message = inference.Message(role="user", content="Hi")
    assert message.model_copy(update={"content": "Ho"}).model_dump(exclude_none=True) == {
        "role": "user",
        "content": "Ho",
    }
    assert message.content == "Hi"


def test_the_ordinary_loop_of_an_agent() -> None:
    answer = inference.ChatResponse.model_validate(
        {"message": {"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": {"a": 1}}}]}}
    )
    again = inference.Message(role="assistant", tool_calls=answer.message.tool_calls)
    wanted = {"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": {"a": 1}}}]}
    assert message_documents([answer.message]) == message_documents([again]) == [wanted]


def test_a_property_keeps_what_else_a_schema_says() -> None:
    document = {"type": "integer", "minimum": 1, "anyOf": [{"const": 1}]}
    schema = {"type": "object", "properties": {"a": document}}
    tool = inference.Tool.model_validate({"function": {"name": "f", "parameters": schema}})
    (sent,) = tool_documents([tool])
    assert sent["function"]["parameters"]["properties"] == {"a": document}
    assert tool.function is not None
    assert tool.function.parameters is not None
    found = (tool.function.parameters.properties or {})["a"]
    assert (found.type, found["minimum"], "enum" in found) == ("integer", 1, False)


def test_what_no_value_is_made_of_is_a_value_error() -> None:
    for text in ("[1]", "{", '{"message": 5}'):
        with pytest.raises(ValueError, match=r"not made of|truncated"):
            inference.ChatResponse.model_validate_json(text)


def test_times_stay_times() -> None:
    (model, _) = BUILT["a list"](inference).models
    assert isinstance(model.model_dump()["modified_at"], datetime)
    assert json.loads(model.model_dump_json())["modified_at"] == "2026-01-02T03:04:05Z"


@given(st.integers(0, 10**22), st.booleans(), st.sampled_from(["", " "]))
def test_sizes_are_said_as_the_official_ones(count: int, decimal: bool, separator: str) -> None:
    theirs = ByteSize(count).human_readable(decimal, separator)
    assert byte_size.ByteSize(count).human_readable(decimal, separator) == theirs


def test_the_sizes_in_a_list_can_be_read() -> None:
    for lib in (ollama, inference):
        models = BUILT["a list"](lib).models
        assert (models[0].size.human_readable(), models[0].size + 1, models[1].size) == ("4.7GiB", 5_000_000_001, None)
