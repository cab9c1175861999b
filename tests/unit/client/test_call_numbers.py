from __future__ import annotations

from typing import Any

import pytest

from provision.client.answers import ToolCall
from provision.client.peer import Peer
from provision.client.reader import AnswerReader
from tests.standin.chat_bytes import DONE, delta, event


def said(name: str | None = None, arguments: Any = None, **fields: Any) -> dict[str, Any]:
    return {**fields, "function": {"name": name, "arguments": arguments}}


ADD, SUB = ToolCall("1", "add", '{"a": 1}'), ToolCall("2", "sub", '{"b": 2}')
UNNAMED_ADD, UNNAMED_SUB = ToolCall("", "add", '{"a": 1}'), ToolCall("", "sub", '{"b": 2}')
UNNAMED_ADD_TWICE = ToolCall("", "add", '{"b": 2}')

STREAMS: dict[str, tuple[list[list[dict[str, Any]]], list[ToolCall]]] = {
    "as OpenAI does": (
        [
            [said("add", "", index=0, id="1", type="function")],
            [said(None, '{"a"', index=0)],
            [said(None, ": 1}", index=0)],
        ],
        [ADD],
    ),
    "two, numbered": (
        [[said("add", '{"a": 1}', index=0, id="1")], [said("sub", '{"b": 2}', index=1, id="2")]],
        [ADD, SUB],
    ),
    "two, interleaved": (
        [
            [said("add", '{"a"', index=0, id="1"), said("sub", '{"b"', index=1, id="2")],
            [said(None, ": 2}", index=1), said(None, ": 1}", index=0)],
        ],
        [ADD, SUB],
    ),
    "numbers from one": (
        [[said("add", '{"a": 1}', index=1, id="1")], [said("sub", '{"b": 2}', index=2, id="2")]],
        [ADD, SUB],
    ),
    "all with number 0": (
        [
            [said("add", '{"a"', index=0, id="1")],
            [said(None, ": 1}", index=0)],
            [said("sub", '{"b": 2}', index=0, id="2")],
        ],
        [ADD, SUB],
    ),
    "the id again in each piece": (
        [[said("add", '{"a"', index=0, id="1")], [said("add", ": 1}", index=0, id="1")]],
        [ADD],
    ),
    "another id in each piece": (
        [[said("add", '{"a"', index=0, id="1")], [said(None, ": 1}", index=0, id="x")]],
        [ADD],
    ),
    "no numbers": (
        [[said("add", '{"a"', id="1")], [said(None, ": 1}")], [said("sub", '{"b"', id="2")], [said(None, ": 2}")]],
        [ADD, SUB],
    ),
    "no numbers, no ids": (
        [[said("add", '{"a"')], [said(None, ": 1}")], [said("sub", '{"b": 2}')]],
        [UNNAMED_ADD, UNNAMED_SUB],
    ),
    "no numbers, no ids, one name": (
        [[said("add", {"a": 1})], [said("add", {"b": 2})]],
        [UNNAMED_ADD, UNNAMED_ADD_TWICE],
    ),
    "no numbers, together": ([[said("add", {"a": 1}), said("sub", {"b": 2})]], [UNNAMED_ADD, UNNAMED_SUB]),
    "the name again while arguments come": ([[said("add", '{"a"')], [said("add", ": 1}")]], [UNNAMED_ADD]),
    "an object": ([[said("add", {"a": 1}, id="1", index=0)]], [ADD]),
    "the name after the id": ([[{"id": "1", "index": 0}], [said("add", '{"a": 1}', index=0)]], [ADD]),
}


@pytest.mark.parametrize(("chunks", "calls"), STREAMS.values(), ids=STREAMS)
def test_pieces_of_calls_come_together_however_they_are_numbered(
    chunks: list[list[dict[str, Any]]], calls: list[ToolCall]
) -> None:
    reader = AnswerReader(Peer("http://127.0.0.1:1/v1"), 0)
    for chunk in chunks:
        reader.feed(event(delta(tool_calls=chunk)), 1)
    reader.feed(event(delta("tool_calls")) + DONE, 2)
    assert reader.error is None
    assert list(reader.completion().tool_calls) == calls
