from __future__ import annotations

import json
import time

import pytest

from provision.host.server_said import MAX_CHARACTERS, server_said

SAID = [
    (b"", "nothing"),
    (b"plain\n words ", "plain words"),
    (b'{"error": {"message": "no such model", "code": 404}}', "no such model"),
    (b'{"error": "no such model"}', "no such model"),
    (b'{"detail": [{"loc": ["body"]}]}', '[{"loc": ["body"]}]'),
    (b'"just words"', "just words"),
    (b"<!DOCTYPE html><style>p {}</style><script>x()</script><h1>502</h1>Bad <b>Gateway</b>", "502 Bad Gateway"),
    (b"<h1>Cut</h1><script>while (true) {", "Cut"),
    (b"a < b and <b>c</b>", "a < b and c"),
    (b"\xff\xfe", "��"),
]


@pytest.mark.parametrize(("body", "said"), SAID)
def test_the_sentence_in_an_error(body: bytes, said: str) -> None:
    assert server_said(body) == said


@pytest.mark.parametrize("piece", [b"<", b"<script>", b"<style ", b"</", b"[", b'{"error":', b"<script></scrip"])
def test_a_megabyte_of_nonsense_takes_no_time(piece: bytes) -> None:
    began = time.monotonic()
    assert len(server_said(piece * ((1 << 20) // len(piece)))) <= MAX_CHARACTERS
    assert time.monotonic() - began < 5  # a pattern that looks again from every place takes minutes


def test_it_is_one_line_that_a_terminal_may_be_given() -> None:
    assert server_said(json.dumps({"error": "a\x1b[31m\nb\r\u202e" + "c" * 999}).encode()).isprintable()
