"""Streams of JSON lines, and thinking in them: where pieces begin and end makes no difference."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provision.client.errors import AnswerError
from provision.inference import calls
from provision.inference.lines import LineSplitter
from provision.inference.thoughts import Thoughts

DOCUMENTS = st.lists(st.dictionaries(st.text(), st.text() | st.integers(-9, 9)), max_size=5)


def cut(data: Any, places: list[int]) -> list[Any]:
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[begin:end] for begin, end in pairwise(edges)]


@given(DOCUMENTS, st.lists(st.integers(0, 999), max_size=6), st.sampled_from(["\n", "\r\n", "\n\n"]), st.booleans())
def test_any_pieces_give_the_same_documents(documents: list[Any], places: list[int], end: str, ended: bool) -> None:
    data = end.join(json.dumps(each, ensure_ascii=False) for each in documents) + (end if ended else "")
    splitter = LineSplitter("here")
    found = [each for piece in cut(data.encode(), places) for each in splitter.feed(piece)]
    assert [*found, *splitter.close()] == documents


@pytest.mark.parametrize("line", [b"<html>no</html>\n", b"[1]\n", b"\xff\n", b'{"a": \n'])
def test_a_line_that_is_no_document_is_an_error_that_shows_it(line: bytes) -> None:
    with pytest.raises(AnswerError, match="What http://here sends"):
        LineSplitter("http://here").feed(line)


def told(text: str, places: list[int], shape: str, **more: Any) -> tuple[str, str]:
    thoughts = Thoughts.of(calls.generate("m", "p", None, more))
    name = "content" if shape == "message" else "response"
    pieces = [{name: piece} for piece in cut(text, places)] + [{name: ""}]
    parts = []
    for number, piece in enumerate(pieces):
        document = {"message": piece} if shape == "message" else piece
        parted = thoughts.part({**document, "done": number == len(pieces) - 1})
        parts.append(parted["message"] if shape == "message" else parted)
    return "".join(part.get("thinking", "") for part in parts), "".join(part[name] for part in parts)


@pytest.mark.parametrize("shape", ["message", "response"])
@given(
    thought=st.text(alphabet="ab <th/"),
    answer=st.text(alphabet="ab <th/"),
    places=st.lists(st.integers(0, 999), max_size=6),
)
def test_a_tag_that_is_split_still_parts_the_thoughts(shape: str, thought: str, answer: str, places: list[int]) -> None:
    text = f"<think>{thought}</think>{answer}"
    assert told(text, places, shape) == told(text, [], shape)
    assert told(text, places, shape) == (thought.strip(), answer.lstrip())


def test_a_raw_text_stays_as_it_is_and_so_does_one_without_tags() -> None:
    assert told("<think>a</think>b", [3], "response", raw=True) == ("", "<think>a</think>b")
    assert told(" a < b", [2], "message") == ("", " a < b")


def test_a_whole_answer_keeps_what_its_server_parted() -> None:
    thoughts = Thoughts.of(calls.chat("m", [], {}))
    assert thoughts.whole({"message": {"content": "b", "thinking": "a"}}) == {
        "message": {"content": "b", "thinking": "a"}
    }
    assert Thoughts.of(calls.listing()).whole({"models": []}) == {"models": []}
