"""Values of JSON with comments are changed in place, and whatever else stands there stays."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provision.plan import json_text
from provision.plan.merge import ABSENT, Edit, difference, merged, restored, same

SETTINGS = """\
// What I like
{
  "theme": "One", // the dark one
  /* later */
  "models": [
    "a", // first
    "b"
  ],
  "deep": { "x": 1, "y": {} }, // end
  // the last word
}
"""
TEXTS = st.text(st.characters(codec="utf-8"), max_size=8) | st.sampled_from(['"', "\\", "//", "/* */", "a,b", "\r\n"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)
MAPPINGS = st.dictionaries(TEXTS, VALUES, max_size=4)


def apply(text: str, edits: list[Edit]) -> str:
    for path, value in edits:
        text = json_text.remove(text, path) if value is ABSENT else json_text.set_value(text, path, value)
    return text


@given(VALUES, st.sampled_from([None, 1, 2, 4, "\t"]), st.booleans())
def test_what_is_json_is_read_as_json_reads_it(value: Any, indent: Any, ascii_only: bool) -> None:
    text = json.dumps(value, indent=indent, ensure_ascii=ascii_only)
    assert same(json_text.read(text).value, json.loads(text))


@given(MAPPINGS, MAPPINGS, st.sampled_from([None, 2, 4, "\t"]))
def test_what_was_merged_can_be_taken_out_again(before: Any, ours: Any, indent: Any) -> None:
    text = json.dumps(before, indent=indent, ensure_ascii=False)
    target = merged(before, ours)
    now = apply(text, difference(before, target))
    assert same(json.loads(now), target)
    back = apply(now, difference(target, restored(target, ours, before)))
    assert same(json.loads(back), before)


@given(st.dictionaries(st.sampled_from(["theme", "models", "deep", "new"]), VALUES, max_size=3))
def test_no_comment_is_lost(ours: Any) -> None:
    before = json_text.read(SETTINGS).value
    target = merged(before, ours)
    now = apply(SETTINGS, difference(before, target))
    assert same(json_text.read(now).value, target)
    if not {"models"} & ours.keys():
        assert json_text.comments(now)[:2] == ["// What I like", "// the dark one"]
        for comment in json_text.comments(SETTINGS):
            assert comment in json_text.comments(now)


def test_a_new_member_stands_behind_the_last_in_the_same_style() -> None:
    now = json_text.set_value(SETTINGS, ("new",), {"a": [1]})
    assert now == SETTINGS.replace("// end\n", '// end\n  "new": {\n    "a": [\n      1\n    ]\n  },\n')
    assert json_text.remove(now, ("new",)) == SETTINGS


@pytest.mark.parametrize(
    ("text", "path", "value", "now"),
    [
        ("{}", ("a",), 1, '{\n  "a": 1\n}'),
        ('{"a": 1}', ("b",), 2, '{"a": 1, "b": 2}'),
        ('{"a": 1}', ("a",), "x", '{"a": "x"}'),
        ('{\n\t"a": 1 // one\n}\n', ("b",), 2, '{\n\t"a": 1, // one\n\t"b": 2\n}\n'),
        ('{\r\n    "a": {}\r\n}', ("a", "b"), [], '{\r\n    "a": {\r\n        "b": []\r\n    }\r\n}'),
        ("[1]", (1,), 2, "[1, 2]"),
        ("{ /* nothing */ }", ("a",), 1, '{ /* nothing */\n  "a": 1\n}'),
        ("{\n  // nothing\n}", ("a",), 1, '{\n  // nothing\n  "a": 1\n}'),
    ],
)
def test_setting(text: str, path: tuple[str | int, ...], value: Any, now: str) -> None:
    assert json_text.set_value(text, path, value) == now


@pytest.mark.parametrize(
    ("text", "path", "now"),
    [
        ('{"a": 1, "b": 2}', ("a",), '{"b": 2}'),
        ('{"a": 1, "b": 2}', ("b",), '{"a": 1}'),
        ('{\n  "a": 1,\n  "b": 2 // two\n}', ("b",), '{\n  "a": 1\n  // two\n}'),
        ('{\n  "a": 1,\n  "b": 2,\n}', ("b",), '{\n  "a": 1,\n}'),
        ("[1, 2, 3]", (1,), "[1, 3]"),
    ],
)
def test_removing(text: str, path: tuple[str | int, ...], now: str) -> None:
    assert json_text.remove(text, path) == now


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("", "line 1"), ("{", "line 1"), ('{"a" 1}', "colon"), ('{"a": }', "value"), ('{"a": 1 "b": 2}', "comma"),
        ('{"a": 1}\n}', "line 2"), ('{"a": NaN}', "NaN"), ("{'a': 1}", "key"), ('{"a": 1, "a": 2}', "twice"),
        ('{"a": "\n"}', "value"), ("[" * 3000, "deep"), ("{,}", "key"), ("[1,,2]", "value"), ("/* {}", "value"),
        ("[01]", "01"),
    ],
)  # fmt: skip
def test_what_is_none_is_refused_and_says_where(text: str, where: str) -> None:
    with pytest.raises(ValueError, match=where):
        json_text.read(text)


def test_what_is_not_there_is_not_removed() -> None:
    for path in (("b",), ("b", "c"), ("a", 0)):
        with pytest.raises(KeyError):
            json_text.remove('{"a": 1}', path)
    with pytest.raises(KeyError):
        json_text.set_value('{"a": 1}', ("b", "c"), 1)
