from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provision.client.request import NAMES, chat_request
from provision.errors import UsageError

HELLO = [{"role": "user", "content": "Hello"}]
PICTURE: list[dict[str, Any]] = [
    {"role": "system", "content": "Be brief."},
    {
        "role": "user",
        "content": [
            {"type": "text", "text": "What is this?"},
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo=", "detail": "low"}},
        ],
    },
]
RESULT_OF_A_TOOL: list[dict[str, Any]] = [
    {"role": "assistant", "content": None, "tool_calls": [{"id": "1", "type": "function", "function": {"name": "f"}}]},
    {"role": "tool", "tool_call_id": "1", "content": "4"},
]
TOOL = {"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}
SCHEMA = {"type": "object", "properties": {"ok": {"type": "boolean"}}}
STRICT = {"name": "answer", "schema": SCHEMA, "strict": True}


def test_a_text_alone_is_a_turn_of_the_user() -> None:
    assert chat_request("Hello", "m", {}) == {"model": "m", "messages": HELLO}


@pytest.mark.parametrize("messages", [HELLO, PICTURE, RESULT_OF_A_TOOL, []])
def test_a_conversation_passes_through_unchanged(messages: list[dict[str, Any]]) -> None:
    assert chat_request(messages, "m", {})["messages"] == messages
    assert chat_request(tuple(messages), "m", {})["messages"] == messages


SENT: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"temperature": 0.0}, {"temperature": 0.0}),
    ({"max_tokens": 0, "logprobs": False, "stop": []}, {"max_tokens": 0, "logprobs": False, "stop": []}),
    ({"stop": "\n", "seed": 7}, {"stop": "\n", "seed": 7}),
    ({"tools": [TOOL], "tool_choice": "auto"}, {"tools": [TOOL], "tool_choice": "auto"}),
    ({"json_schema": SCHEMA}, {"response_format": {"type": "json_schema", "json_schema": STRICT}}),
    ({"json_schema": {}}, {"response_format": {"type": "json_schema", "json_schema": {**STRICT, "schema": {}}}}),
    ({"response_format": {"type": "json_object"}}, {"response_format": {"type": "json_object"}}),
    ({"extra": {"top_k": 4, "cache_prompt": None}}, {"top_k": 4, "cache_prompt": None}),
]


@pytest.mark.parametrize(("options", "fields"), SENT, ids=[", ".join(options) for options, _ in SENT])
def test_what_is_asked_for_is_sent_and_nothing_else(options: dict[str, Any], fields: dict[str, Any]) -> None:
    assert chat_request("Hello", "m", options) == {"model": "m", "messages": HELLO, **fields}


@given(st.sets(st.sampled_from(NAMES)))
def test_an_option_that_is_none_is_absent_and_not_null(names: set[str]) -> None:
    assert chat_request("Hello", "m", dict.fromkeys(names)) == {"model": "m", "messages": HELLO}


@pytest.mark.parametrize(
    ("name", "meant"),
    [("temprature", "'temperature'"), ("max_token", "'max_tokens'"), ("stops", "'stop'"), ("schema", "'json_schema'")],
)
def test_an_option_that_does_not_exist_is_refused_with_what_was_meant(name: str, meant: str) -> None:
    with pytest.raises(UsageError, match=f"no option '{name}'.*Did you mean {meant}") as caught:
        chat_request("Hello", "m", {name: 1})
    assert caught.value.exit_code == 64
    assert "`extra`" in (caught.value.hint or "")


def test_what_no_option_resembles_is_refused_without_a_guess() -> None:
    with pytest.raises(UsageError) as caught:
        chat_request("Hello", "m", {"zzzzqqqq": 1})
    assert "Did you mean" not in caught.value.message


def test_the_callers_values_are_not_changed() -> None:
    options = {"extra": {"top_k": 1}, "json_schema": SCHEMA, "seed": None}
    chat_request(PICTURE, "m", options)
    assert options == {"extra": {"top_k": 1}, "json_schema": SCHEMA, "seed": None}


def test_two_ways_to_say_what_the_answer_looks_like_contradict_each_other() -> None:
    with pytest.raises(UsageError, match="json_schema and response_format"):
        chat_request("Hello", "m", {"json_schema": SCHEMA, "response_format": {"type": "json_object"}})
