from __future__ import annotations

import time
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from provision.client.answers import Completion, Delta, Timing, Usage
from provision.client.errors import AnswerError, BrokenStreamError
from provision.client.peer import Peer
from provision.client.reader import AnswerReader
from tests.standin.chat_bytes import DONE, delta, event, says, usage_event

WHERE = "http://127.0.0.1:1/v1"
STOP = event(delta("stop"))


def read(*pieces: bytes) -> tuple[AnswerReader, list[Delta]]:
    """Read a stream that ends after these pieces; the n-th of them at n nanoseconds."""
    reader = AnswerReader(Peer(WHERE), 0)
    found = [piece for at_ns, data in enumerate(pieces, start=1) for piece in reader.feed(data, at_ns)]
    return reader, found + reader.close(len(pieces) + 1)


def whole(*pieces: bytes) -> Completion:
    reader, deltas = read(*pieces)
    assert reader.error is None
    assert "".join(delta.content for delta in deltas) == reader.completion().content
    return reader.completion()


def test_an_answer_with_everything() -> None:
    found = whole(says("Hel", "lö"), DONE)
    assert (found.content, found.finish_reason, found.usage, found.model) == ("Hellö", "stop", Usage(5, 3, 2), "served")


def test_a_piece_has_the_time_at_which_it_was_read() -> None:
    reader, deltas = read(event(delta(role="assistant")), event(delta(content="a")), b": ping\n\n", STOP, DONE)
    assert [(delta.content, delta.finish_reason, delta.at_ns) for delta in deltas] == [("a", None, 2), ("", "stop", 4)]
    assert reader.completion().timing == Timing(0, 2, 4)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_line_ends_comments_and_a_byte_order_mark_make_no_difference(end: str) -> None:
    stream = b"\xef\xbb\xbf: hello" + (end * 2).encode() + event(delta(content="a"), end=end) + b": ping" + end.encode()
    assert whole(stream, event(delta("stop"), end=end), event("[DONE]", end=end)).content == "a"


HARMLESS = [
    b": ping\n\n",
    b"data:\n\n",
    b"data: {}\n\n",
    b'event: ping\ndata: {"type": "ping"}\n\n',
    b"id: 4\nretry: 9\n\n",
]


@pytest.mark.parametrize("noise", HARMLESS)
def test_what_says_nothing_does_no_harm(noise: bytes) -> None:
    assert whole(noise, event(delta(content="a")), noise, STOP, noise, DONE, noise).content == "a"


def test_other_choices_than_the_first_are_not_mixed_into_it() -> None:
    def of(index: int, text: str) -> bytes:
        return event({"choices": [{"index": index, "delta": {"content": text}}]})

    both = {"choices": [{"index": 1, "delta": {"content": "z"}}, {"index": 0, "delta": {"content": "C"}}]}
    assert whole(of(0, "A"), of(1, "x"), of(0, "B"), of(1, "y"), event(both), DONE).content == "ABC"


def test_the_error_of_an_answer_that_has_not_begun_does_not_speak_of_its_middle() -> None:
    reader, _ = read(event(ERROR), DONE)
    assert isinstance(reader.error, BrokenStreamError)
    assert reader.error.message == f"{WHERE} gives no answer: it reports out of memory."


NULLS: dict[str, Any] = {
    "content": None,
    "refusal": None,
    "reasoning_content": None,
    "reasoning": None,
    "tool_calls": None,
}
WITHOUT_MUCH = [
    [event({**delta(**NULLS), "error": None, "model": None}), event(delta(**{**NULLS, "content": "a"})), STOP, DONE],
    [event(delta(content="a")), event({"choices": [{"delta": None, "finish_reason": "stop"}], "usage": None}), DONE],
    [event({"choices": [{"delta": {"content": "a"}}]}), event({"choices": [{"finish_reason": "stop"}]}), DONE],
    [event(delta(content="a")), STOP, event({"choices": None}), DONE],
    [event(delta(content="a")), STOP],
    [event(delta("stop", content="a"))],
    [event(delta(content="a")), DONE],
    [event(delta(content="a")), STOP, b"data:[DONE]"],
    [event(delta(content="a")), STOP, b"data: [DONE] \n\n"],
    [event(delta(content="a")), STOP, usage_event()[:-9]],
    [event({"choices": [{"text": "a", "finish_reason": "stop"}]}), DONE],
]


@pytest.mark.parametrize("pieces", WITHOUT_MUCH)
def test_an_answer_is_whole_with_little_around_it(pieces: list[bytes]) -> None:
    found = whole(*pieces)
    assert (found.content, found.usage) == ("a", None)


THOUGHTS: list[list[dict[str, Any]]] = [
    [{"reasoning_content": "h"}, {"reasoning_content": "m"}, {"content": "4"}],
    [{"reasoning": "h"}, {"reasoning": "m"}, {"content": "4"}],
    [{"reasoning": "hm", "content": ""}, {"reasoning": None, "content": "4"}],
    [{"content": "<th"}, {"content": "ink>\nh"}, {"content": "m\n</thi"}, {"content": "nk"}, {"content": ">\n\n4"}],
    [{"content": letter} for letter in "<think>hm</think>4"],
]


@pytest.mark.parametrize("deltas", THOUGHTS)
def test_thinking_is_told_from_the_answer_however_it_is_marked(deltas: list[dict[str, Any]]) -> None:
    found = whole(*(event(delta(**fields)) for fields in deltas), STOP, DONE)
    assert (found.reasoning, found.content) == ("hm", "4")


@pytest.mark.parametrize("text", ["<", "<think", "  "])
@pytest.mark.parametrize("end", [[STOP, DONE], [DONE], [STOP], [STOP, usage_event(), DONE]])
def test_text_that_looks_like_the_beginning_of_a_tag_is_not_lost(text: str, end: list[bytes]) -> None:
    assert whole(event(delta(content=text)), *end).content == text


def test_nothing_follows_the_piece_that_finishes_but_usage() -> None:
    _, deltas = read(event(delta(content="<think>h")), event(delta("length", content=" ")), usage_event(), DONE)
    assert [(delta.reasoning, delta.finish_reason, bool(delta.usage)) for delta in deltas] == [
        ("h", None, False),
        (" ", "length", False),
        ("", None, True),
    ]


ERROR = {"error": {"message": "out of memory", "code": 500}}
ERRORS = [
    event(ERROR),
    event(ERROR, "error"),
    event({"message": "out of memory"}, "error"),
    event("out of memory", "error"),
]


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("apart", [True, False])
def test_an_error_in_a_stream_comes_after_the_text_before_it(error: bytes, apart: bool) -> None:
    pieces = [event(delta(content="a")), event(delta(content="b")), error, event(delta(content="late")), DONE]
    reader, deltas = read(*(pieces if apart else [b"".join(pieces)]))
    assert "".join(delta.content for delta in deltas) == "ab"
    assert isinstance(reader.error, BrokenStreamError)
    assert "out of memory" in reader.error.message
    assert (reader.error.text, reader.error.exit_code, reader.error.code) == ("ab", 1, "broken-stream")
    assert not reader.done


def test_text_that_was_held_back_belongs_to_a_broken_answer() -> None:
    reader, deltas = read(event(delta(content="<thin")), event(ERROR))
    assert isinstance(reader.error, BrokenStreamError)
    assert (reader.error.text, [delta.content for delta in deltas]) == ("<thin", ["<thin"])


STORY = event(delta(content="hé"), end="\r\n") + event(delta(content="<llo ünd"))


@given(st.integers(0, len(STORY)))
def test_a_stream_that_is_cut_anywhere_is_broken_and_keeps_what_had_come(place: int) -> None:
    reader, deltas = read(STORY[:place])
    assert isinstance(reader.error, BrokenStreamError)
    assert reader.error.text in ("", "hé", "hé<llo ünd")
    assert reader.error.text == "".join(delta.content for delta in deltas) == reader.completion().content


@pytest.mark.parametrize("data", ["no json", "[1]", '{"choices": "many"}', '{"choices": [{"delta": ', "[" * 50_000])
def test_an_event_that_is_no_chunk_is_no_answer(data: str) -> None:
    reader, _ = read(event(delta(content="a")), event(data), event(delta(content="b")))
    assert isinstance(reader.error, AnswerError)
    assert reader.completion().content == "a"


def test_text_after_the_end_is_nobodys() -> None:
    assert whole(event(delta(content="a")), STOP, DONE + event(delta(content="b")) + event(ERROR)).content == "a"


def test_a_very_long_line_is_read_in_little_time() -> None:
    text = "é" * (1 << 22)
    data = event(delta(content=text)) + STOP + DONE
    began = time.monotonic()
    assert whole(*(data[start : start + 4096] for start in range(0, len(data), 4096))).content == text
    assert time.monotonic() - began < 10  # a reader that looks at all of it again with every piece takes a minute


pieces_of_text = st.text(max_size=4) | st.sampled_from(["<think>", "</think>", "<", " "])
chunks = st.lists(
    st.one_of(
        st.builds(lambda text: delta(content=text), pieces_of_text),
        st.builds(lambda text: delta(reasoning_content=text), pieces_of_text),
        st.builds(
            lambda text, index: delta(tool_calls=[{"index": index, "function": {"arguments": text}}]),
            pieces_of_text,
            st.integers(0, 2),
        ),
        st.just(": ping"),
    ),
    max_size=8,
)


@given(chunks, st.sampled_from(["\n", "\r\n", "\r"]), st.booleans(), st.lists(st.integers(0, 2000), max_size=12))
def test_where_the_bytes_are_cut_makes_no_difference(
    said: Iterable[Any], end: str, done: bool, places: list[int]
) -> None:
    lines = [f"{chunk}{end}{end}".encode() if isinstance(chunk, str) else event(chunk, end=end) for chunk in said]
    stream = b"".join([*lines, event(delta("stop"), end=end), event("[DONE]", end=end) if done else b""])
    edges = [0, *sorted(place % (len(stream) + 1) for place in places), len(stream)]
    expected = at_no_time(whole(stream))
    assert at_no_time(whole(*(stream[start:stop] for start, stop in pairwise(edges)))) == expected
    assert at_no_time(whole(*(bytes([byte]) for byte in stream))) == expected


def at_no_time(found: Completion) -> Completion:
    return msgspec.structs.replace(found, timing=Timing(0, 0, 0))
