from __future__ import annotations

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provision.domain.sse import Event, EventSplitter, events, is_stream

LINE_ENDS = ("\n", "\r\n", "\r")


def whole(data: bytes) -> list[Event]:
    return events([(7, data)])


@pytest.mark.parametrize("end", LINE_ENDS)
def test_an_empty_line_ends_an_event_whatever_the_line_end(end: str) -> None:
    data = f"data: one{end}{end}data: two{end}{end}".encode()
    assert whole(data) == [Event(7, "one"), Event(7, "two")]


def test_comments_ids_and_retry_times_are_no_events() -> None:
    assert whole(b": ping\n\nid: 4\nretry: 100\n\n:\n\n") == []


def test_the_event_line_names_the_event_and_only_that_one() -> None:
    assert whole(b"event: error\ndata: {}\n\ndata: x\n\n") == [Event(7, "{}", "error"), Event(7, "x", "message")]


def test_several_data_lines_are_one_text() -> None:
    assert whole(b"data: a\ndata\ndata:b\ndata:  c\n\n") == [Event(7, "a\n\nb\n c")]


def test_a_byte_order_mark_is_not_part_of_the_first_field() -> None:
    assert whole(b"\xef\xbb\xbfdata: x\n\n") == [Event(7, "x")]


def test_an_event_carries_the_time_of_the_byte_that_completed_it() -> None:
    pieces = [(1, b"data: a"), (2, b"\n"), (3, b"\ndata: b\n\ndata: c\n"), (4, b"\n")]
    assert [(event.data, event.at_ns) for event in events(pieces)] == [("a", 3), ("b", 3), ("c", 4)]


def test_a_line_feed_that_arrives_after_its_carriage_return_is_no_second_line_end() -> None:
    splitter = EventSplitter()
    found = splitter.feed(b"data: a\r", 1)
    found += splitter.feed(b"\ndata: b\r", 2)
    found += splitter.feed(b"\n\r", 3)
    found += splitter.feed(b"\n", 4)
    assert found == [Event(3, "a\nb")]
    assert splitter.close(5) == []


def test_the_last_event_counts_without_its_empty_line() -> None:
    assert whole(b"data: [DONE]\n") == [Event(7, "[DONE]")]
    assert whole(b"data: [DONE]") == [Event(7, "[DONE]")]


def test_separators_of_unicode_do_not_end_a_line() -> None:
    text = json.dumps({"content": "a\u2028b\u0085c\u2029d"}, ensure_ascii=False)
    assert whole(f"data: {text}\n\n".encode()) == [Event(7, text)]


def test_bytes_that_are_not_utf8_do_not_stop_the_rest() -> None:
    assert [event.data for event in whole(b"data: \xff\xfe\n\ndata: ok\n\n")] == ["��", "ok"]


words = st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), max_size=12)
fields = st.sampled_from(["data: {}", "data:{}", ": {}", "event: {}", "id: {}", "{}"])
lines = st.builds(lambda form, text: form.format(text), fields, words)


@st.composite
def streams(draw: st.DrawFn) -> bytes:
    parts = draw(st.lists(st.one_of(lines, st.just("")), max_size=12))
    return "".join(part + draw(st.sampled_from(LINE_ENDS)) for part in parts).encode()


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[start:end] for start, end in pairwise(edges)]


@given(streams(), st.lists(st.integers(0, 500), max_size=20))
def test_where_the_bytes_are_cut_makes_no_difference(data: bytes, places: list[int]) -> None:
    assert events((7, piece) for piece in cut(data, places)) == whole(data)


@given(streams())
def test_not_even_when_every_byte_comes_alone(data: bytes) -> None:
    assert events((7, bytes([byte])) for byte in data) == whole(data)


@given(st.lists(st.text(min_size=1), max_size=8), st.sampled_from(LINE_ENDS))
def test_what_a_server_writes_is_what_is_read(texts: list[str], end: str) -> None:
    written = [json.dumps({"content": text}, ensure_ascii=False) for text in texts]
    data = "".join(f"data: {line}{end}{end}" for line in written).encode()
    assert [event.data for event in whole(data)] == written


@pytest.mark.parametrize(
    ("begun", "streams"),
    [
        (b"", None),
        (b"\r\n\n", None),
        (b"\xef\xbb", None),
        (b"dat", None),
        (b"data:", True),
        (b"\xef\xbb\xbf\ndata: x", True),
        (b": ping", True),
        (b"event: error", True),
        (b"{", False),
        (b" [", False),
        (b"<p>", False),
        (b"Bad gateway", False),
        (b"date", False),
    ],
)
def test_what_begins_like_a_stream(begun: bytes, streams: bool | None) -> None:
    assert is_stream(begun) is streams
