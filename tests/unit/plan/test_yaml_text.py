"""Values of YAML are changed where they stand, and every other line stays where and as it is."""

from __future__ import annotations

from typing import Any

import pytest

from provision.plan import yaml_text
from provision.plan.merge import ABSENT, Edit

MINE = """\
# mine
name:   "Mine"   # two spaces more than needed
models:
    - name: a   # first
      roles: [chat,edit]

    # the second
    - name: b
# about the rules
rules: [ 'one' ]   # flow
text: |
  of several
  lines
nested:
  deep:
    x: yes
last: 1.50
"""


def edited(path: tuple[str | int, ...], value: Any, text: str = MINE) -> str:
    return yaml_text.changed(text, [Edit(path, value)])


def test_an_item_is_added_and_cut_out_without_a_change_to_any_other_line() -> None:
    item = {"name": "fabric", "roles": ["chat"], "options": {"contextLength": 8}}
    now = edited(("models", 2), item)
    head, tail = MINE.split("# about the rules")
    assert now.startswith(f"{head}    - name: fabric\n      roles:\n")
    assert now.endswith(f"# about the rules{tail}")
    assert yaml_text.data(now)["models"][2] == item
    assert edited(("models", 2), ABSENT, now) == MINE


@pytest.mark.parametrize(
    ("path", "value", "line"),
    [
        (("new",), "x", "new: x\n"),
        (("nested", "deep", "y"), True, "    y: true\n"),
        (("models", 1, "model"), "m", "      model: m\n"),
        (("models", 0, "model"), "m", "      model: m\n"),
    ],
)
def test_a_key_is_one_more_line(path: tuple[str | int, ...], value: Any, line: str) -> None:
    now = edited(path, value)
    assert now.replace(line, "", 1) == MINE
    assert edited(path, ABSENT, now) == MINE


@pytest.mark.parametrize(
    ("path", "value", "was", "is_now"),
    [
        (("name",), "Yours: #1", '"Mine"   #', '"Yours: #1"   #'),
        (("last",), None, "1.50", "null"),
        (("nested", "deep", "x"), 3, "x: yes", "x: 3"),
    ],
)
def test_a_single_value_is_replaced_where_it_stands(
    path: tuple[str | int, ...], value: Any, was: str, is_now: str
) -> None:
    assert edited(path, value) == MINE.replace(was, is_now)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("rules", 1), "two"),
        (("text",), "one"),
        (("text",), ABSENT),
        (("nested",), {"deep": 1}),
        (("nested", "deep"), []),
    ],
)
def test_what_has_no_lines_of_its_own_is_written_anew(path: tuple[str | int, ...], value: Any) -> None:
    now = yaml_text.data(edited(path, value))
    was = yaml_text.data(MINE)
    assert {key for key in {*was, *now} if was.get(key) != now.get(key)} == {path[0]}


def test_behind_a_block_of_text_a_value_is_added_all_the_same() -> None:
    assert yaml_text.data(edited(("b",), 1, "a: |\n  x\n")) == {"a": "x\n", "b": 1}


def test_the_last_line_needs_no_end_and_windows_keeps_its_own() -> None:
    assert edited(("b",), 1, "a: 1") == "a: 1\nb: 1\n"
    assert edited(("b",), 1, "a: 1\r\nc: 2\r\n") == "a: 1\r\nc: 2\r\nb: 1\r\n"
