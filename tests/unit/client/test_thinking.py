from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provision.client.thinking import ThinkSplitter

PARTED = [
    ("", "", ""),
    ("4", "", "4"),
    ("<think>2 + 2</think>4", "2 + 2", "4"),
    ("\n <think>\n2 + 2\n</think>\n\n4", "2 + 2", "4"),
    ("<think>a\n\nb</think>c d ", "a\n\nb", "c d "),
    ("<think></think>4", "", "4"),
    ("<think>\n\n</think>\n\n4", "", "4"),
    ("<think>never closed", "never closed", ""),
    ("<think>never closed </thi", "never closed </thi", ""),
    ("<think>a </b> < c</think>d", "a </b> < c", "d"),
    ("<think>a </</think>d", "a </", "d"),
    ("<think>a</think>", "a", ""),
    ("<think>a</think>\n", "a", ""),
    ("<think>", "", ""),
    ("<think>a</think>b <think>c</think>", "a", "b <think>c</think>"),
    ("what <think> means", "", "what <think> means"),
    ("a</think>b", "", "a</think>b"),
    ("<", "", "<"),
    ("<thin", "", "<thin"),
    ("<thinker>", "", "<thinker>"),
    ("  ", "", "  "),
    (" 4 ", "", " 4 "),
]


def parted(*pieces: str) -> tuple[str, str]:
    splitter = ThinkSplitter()
    found = [*map(splitter.feed, pieces), splitter.close()]
    return "".join(thought for thought, _ in found), "".join(text for _, text in found)


@pytest.mark.parametrize(("text", "thought", "answer"), PARTED, ids=[repr(text) for text, _, _ in PARTED])
def test_what_stands_between_the_tags_at_the_beginning_is_thinking(text: str, thought: str, answer: str) -> None:
    assert parted(text) == (thought, answer)
    assert parted(*text) == (thought, answer)


texts = st.lists(st.sampled_from(["<think>", "</think>", "<", "</", "think>", " ", "\n", "a", "é b"]), max_size=9)


@given(texts.map("".join), st.lists(st.integers(0, 60), max_size=8))
def test_where_the_pieces_begin_and_end_makes_no_difference(text: str, places: list[int]) -> None:
    edges = [0, *sorted(place % (len(text) + 1) for place in places), len(text)]
    pieces = [text[start:end] for start, end in pairwise(edges)]
    assert parted(*pieces) == parted(text) == parted(*text)


@given(st.text().filter(lambda text: not text.lstrip().startswith("<think>")))
def test_an_answer_that_does_not_think_is_untouched(text: str) -> None:
    assert parted(*text) == ("", text)


def test_text_is_handed_on_as_soon_as_it_can_be_no_tag() -> None:
    splitter = ThinkSplitter()
    assert splitter.feed("<th") == ("", "")
    assert splitter.feed("ree") == ("", "<three")
    assert splitter.feed(" <think>") == ("", " <think>")
