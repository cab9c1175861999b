from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provision.client.answers import Completion, ToolCall, ToolCallPart, Usage
from provision.client.errors import AnswerError, BrokenStreamError, ClientError
from provision.client.peer import Peer
from provision.client.reader import AnswerReader
from provision.client.wire import join_calls
from tests.standin.chat_bytes import USAGE, completion

WHERE = "http://127.0.0.1:1/v1"


def read(body: Any) -> Completion:
    reader = AnswerReader(Peer(WHERE), 1)
    reader.take_whole(body if isinstance(body, bytes) else json.dumps(body).encode(), 2)
    if reader.error:
        raise reader.error
    return reader.completion()


def call(arguments: Any, **fields: Any) -> dict[str, Any]:
    return {"function": {"name": "add", "arguments": arguments}, **fields}


def test_a_whole_answer() -> None:
    found = read(completion("Hello"))
    assert (found.content, found.reasoning, found.tool_calls) == ("Hello", "", ())
    assert (found.finish_reason, found.usage, found.model) == ("stop", Usage(5, 3, 2), "served")
    assert found.usage is not None
    assert found.usage.total_tokens == 8
    assert (found.timing.sent_ns, found.timing.first_ns, found.timing.ended_ns) == (1, 2, 2)


THOUGHT = [
    ({"reasoning_content": "hm", "content": "4"}, "hm", "4"),
    ({"reasoning": "hm", "content": "4"}, "hm", "4"),
    ({"reasoning": "hm", "reasoning_content": "hm", "content": "4"}, "hm", "4"),
    ({"content": "<think>hm</think>4"}, "hm", "4"),
    ({"reasoning_content": "hm", "content": None}, "hm", ""),
    ({"reasoning_content": None, "reasoning": None, "content": "4"}, "", "4"),
    ({"refusal": "I will not."}, "", "I will not."),
]


@pytest.mark.parametrize(("message", "thought", "text"), THOUGHT)
def test_thinking_is_told_from_the_answer_however_it_is_marked(
    message: dict[str, Any], thought: str, text: str
) -> None:
    found = read(completion(message))
    assert (found.reasoning, found.content) == (thought, text)


EMPTY: list[dict[str, Any]] = [
    completion({"content": None, "tool_calls": None, "refusal": None, "reasoning": None, "function_call": None}),
    completion({}, None, usage=None, model=None, error=None, id=None, created=None),
    {"choices": [{"message": None, "finish_reason": None, "logprobs": None}], "usage": {"prompt_tokens": None}},
    {"choices": [{}]},
]


@pytest.mark.parametrize("document", EMPTY)
def test_null_and_absent_are_alike(document: dict[str, Any]) -> None:
    found = read(document)
    assert (found.content, found.reasoning, found.tool_calls, found.finish_reason) == ("", "", (), "stop")


@pytest.mark.parametrize(
    ("usage", "counted"),
    [
        (None, None),
        ({}, Usage(0, 0, None)),
        ({"prompt_tokens": 4}, Usage(4, 0, None)),
        ({**USAGE, "prompt_tokens_details": None}, Usage(5, 3, None)),
        ({**USAGE, "prompt_tokens_details": {"audio_tokens": 1}}, Usage(5, 3, None)),
    ],
)
def test_usage_is_what_the_server_tells(usage: Any, counted: Usage | None) -> None:
    assert read(completion("a", usage=usage)).usage == counted


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ([call('{"a": 1}', id="x", index=0, type="function")], [ToolCall("x", "add", '{"a": 1}')]),
        ([call({"a": 1}, id="x")], [ToolCall("x", "add", '{"a": 1}')]),
        ([call("{}"), call('{"b": 2}')], [ToolCall("", "add", "{}"), ToolCall("", "add", '{"b": 2}')]),
        ([call(None, id=None, index=None)], [ToolCall("", "add", "")]),
        ([{"id": "x", "function": None}], [ToolCall("x", "", "")]),
    ],
)
def test_calls_of_tools_in_all_their_forms(said: list[Any], meant: list[ToolCall]) -> None:
    assert list(read(completion({"content": None, "tool_calls": said}, "tool_calls")).tool_calls) == meant


@pytest.mark.parametrize(("arguments", "parsed"), [('{"a": [1]}', {"a": [1]}), ("", {}), ("{}", {})])
def test_arguments_are_parsed(arguments: str, parsed: dict[str, Any]) -> None:
    assert ToolCall("1", "f", arguments).parsed() == parsed


@pytest.mark.parametrize("arguments", ["{", "[1]", "null", '"a"', "1"])
def test_arguments_that_are_no_object_are_a_value_error(arguments: str) -> None:
    with pytest.raises(ValueError, match=r"JSON|Expecting|arguments"):
        ToolCall("1", "f", arguments).parsed()


NO_ANSWERS = [
    (b"", "nothing"),
    (b"<html><head><script>x()</script></head><h1>Welcome</h1> to nginx</html>", "Welcome to nginx"),
    (b'{"choices": []}', "no choice"),
    (b'{"hello": "world"}', "no choice"),
    (b"[]", "array"),
    (b'"text"', "str"),
    (b'{"choices": [{"message": "text"}]}', "message"),
    (b'{"choices": [{"message": {"content": "\xff"}}]}', "utf"),
    (b'{"choices": [{"message": {"content": "a"}}]', "truncated"),
    (b"[" * 100_000, "array"),
    (b'{"error": ' + b"[" * 100_000, "recursion"),
]


@pytest.mark.parametrize(("body", "told"), NO_ANSWERS, ids=[repr(body[:40]) for body, _ in NO_ANSWERS])
def test_what_is_no_answer_is_told_in_one_line(body: bytes, told: str) -> None:
    with pytest.raises(AnswerError, match=rf"(?i){told}") as caught:
        read(body)
    assert WHERE in caught.value.message
    assert caught.value.message.isprintable()
    assert len(caught.value.message) < 500
    assert (caught.value.exit_code, caught.value.code) == (1, "not-an-answer")


@pytest.mark.parametrize(
    "error", [{"message": "out of memory", "code": 500}, "out of memory", {"error": "out of memory"}]
)
def test_an_error_in_place_of_an_answer_is_told_in_the_servers_words(error: Any) -> None:
    with pytest.raises(BrokenStreamError, match="out of memory"):
        read({"error": error})


json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
names = st.sampled_from(["choices", "message", "content", "usage", "error", "tool_calls", "finish_reason", "model"])
documents = st.dictionaries(names, st.lists(st.dictionaries(names, json_values)) | json_values)


@given(st.binary(max_size=40) | documents.map(json.dumps).map(str.encode))
def test_no_body_whatever_raises_anything_but_the_errors_of_a_client(body: bytes) -> None:
    try:
        read(body)
    except ClientError as error:
        assert error.message.isprintable()  # noqa: PT017 - most bodies are none, some are answers


parts = st.builds(ToolCallPart, st.integers(0, 3), st.text(max_size=2), st.text(max_size=2), st.text(max_size=4))


@given(st.lists(parts, max_size=12))
def test_pieces_of_one_index_are_one_call(pieces: list[ToolCallPart]) -> None:
    calls = join_calls(pieces)
    numbers = sorted({piece.index for piece in pieces})
    assert len(calls) == len(numbers)
    for number, joined in zip(numbers, calls, strict=True):
        own = [piece for piece in pieces if piece.index == number]
        assert joined.arguments == "".join(piece.arguments for piece in own)
        assert joined.id == next((piece.id for piece in own if piece.id), "")
        assert joined.name == next((piece.name for piece in own if piece.name), "")
