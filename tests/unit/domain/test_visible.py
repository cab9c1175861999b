"""Text of others on a terminal: nothing in it is obeyed."""

from __future__ import annotations

import pytest

from provision.domain.visible import visible


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[1;31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07", "�]0;title�"),
        ("\x1b[2Jgone", "�[2Jgone"),
        ("one\r\ntwo\tthree", "one\ntwo\tthree"),
        ("secret\rpublic", "secret�public"),
        ("\x9b31m", "�31m"),
        ("a\u202eb", "a�b"),
        ("größer\u00a0als 你好 🙂", "größer\u00a0als 你好 🙂"),
    ],
)
def test_a_terminal_obeys_nothing(text: str, shown: str) -> None:
    assert visible(text) == shown


def test_one_line_stays_one_line() -> None:
    assert visible("one\ntwo", kept="") == "one�two"
