"""Our values in somebody's text, and out of it again, in every syntax."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import tomli_w
import yaml
from hypothesis import given
from hypothesis import strategies as st

from provision.plan.config_text import BEGIN, END, CannotMergeError, with_ours, without_ours
from provision.plan.documents import SYNTAXES
from provision.plan.merge import merged, same

WORDS = st.sampled_from(
    ["a", "b", "models", "name", "env", "http://127.0.0.1:8080/v1", "yes", "1", "ü", "# no", "it's"]
)
TOML_VALUES = st.recursive(
    st.booleans() | st.integers(-9, 9) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=8,
)
VALUES = TOML_VALUES | st.none()
DUMPED: dict[str, Callable[[Any], str]] = {
    "json": lambda data: json.dumps(data, indent=2),
    "yaml": lambda data: yaml.safe_dump(data, allow_unicode=True),
    "toml": tomli_w.dumps,
}
MAPPINGS = st.dictionaries(WORDS, TOML_VALUES, max_size=3)

JSON = '{\n    // mine\n    "theme": "One", // dark\n    "env": {"A": "1"}\n}\n'
YAML = "# mine\nname: mine   # n\nmodels:\n    - name: a   # first\n      on: yes\nenv: {A: '1'}\n"
TOML = '# mine\nmodel = "x" # m\n\n[env]\nA = "1"\n'
THEIRS = {"json": JSON, "yaml": YAML, "toml": TOML}
OURS = {"env": {"B": "2"}, "models": [{"name": "fabric"}]}


@pytest.mark.parametrize("syntax", list(DUMPED))
@given(theirs=MAPPINGS, ours=MAPPINGS.filter(bool))
def test_what_a_parser_finds_is_the_merged_data_and_afterwards_what_was_there(
    syntax: str, theirs: Any, ours: Any
) -> None:
    before, own = DUMPED[syntax](theirs), DUMPED[syntax](ours)
    read = SYNTAXES[syntax].data
    now = with_ours(syntax, before, own)
    assert same(read(now), merged(theirs, ours))
    back = without_ours(syntax, f"{now}\n", own, before)
    assert same(read(back or ""), theirs)


@pytest.mark.parametrize("syntax", list(THEIRS))
def test_comments_quotes_and_somebodys_edits_survive(syntax: str) -> None:
    before, own = THEIRS[syntax], DUMPED[syntax](OURS)
    now = with_ours(syntax, before, own)
    assert set(SYNTAXES[syntax].comments(before)) == set(SYNTAXES[syntax].comments(now))
    assert with_ours(syntax, now, own) == now
    edited = now.replace("mine", "my own").replace("One", "Two")
    back = without_ours(syntax, edited, own, before)
    assert back is not None
    assert SYNTAXES[syntax].data(back) == SYNTAXES[syntax].data(before.replace("mine", "my own").replace("One", "Two"))
    assert set(SYNTAXES[syntax].comments(back)) == set(SYNTAXES[syntax].comments(edited))


@pytest.mark.parametrize("syntax", list(THEIRS))
def test_a_file_of_ours_to_which_somebody_added_keeps_just_that(syntax: str) -> None:
    own = DUMPED[syntax](OURS)
    assert with_ours(syntax, None, own) == own
    assert without_ours(syntax, own, own, None) is None
    theirs = with_ours(syntax, own, DUMPED[syntax]({"mine": 1}))
    assert SYNTAXES[syntax].data(without_ours(syntax, theirs, own, None) or "") == {"mine": 1}
    assert without_ours(syntax, f"{own}\n\n", own, None) is None


@pytest.mark.parametrize("syntax", ["yaml", "toml"])
def test_a_comment_alone_is_reason_enough_to_keep_a_file(syntax: str) -> None:
    own = DUMPED[syntax](OURS)
    assert "# remember" in (without_ours(syntax, f"# remember\n{own}", own, None) or "")


TABLE = '[servers.fabric]\nurl = "u"\n'


@pytest.mark.parametrize("before", [None, 'model = "x"\n', "# mine\n[servers.other]\nurl = 1\n", "[servers]\nn = 1\n"])
@pytest.mark.parametrize("more", ["# the end\n", '# more\n[more]\na = """\n[other]\n"""\n', "[[more]]\na = 1\n"])
def test_what_stands_behind_a_table_of_ours_is_no_part_of_it(before: str | None, more: str) -> None:
    now = f"{with_ours('toml', before, TABLE)}\n{more}"
    theirs = f"{before}\n{more}" if before else f"\n{more}"
    assert without_ours("toml", now, TABLE, before) in (theirs, theirs.lstrip("\n"))


def test_without_a_table_of_ours_no_gap_stays() -> None:
    now = with_ours("toml", "[a]\nb = 1\n", TABLE).replace("b = 1", "b = 2")
    assert without_ours("toml", now, TABLE, "[a]\nb = 1\n") == "[a]\nb = 2\n"


@pytest.mark.parametrize(
    ("syntax", "empty"), [("json", ""), ("json", "// later\n"), ("yaml", "# later"), ("toml", "\n")]
)
def test_into_a_file_with_nothing_in_it(syntax: str, empty: str) -> None:
    own = DUMPED[syntax](OURS)
    now = with_ours(syntax, empty, own)
    assert now.startswith(empty)
    assert SYNTAXES[syntax].data(now) == OURS


@pytest.mark.parametrize("syntax", list(THEIRS))
def test_line_ends_of_windows_stay(syntax: str) -> None:
    now = with_ours(syntax, THEIRS[syntax].replace("\n", "\r\n"), DUMPED[syntax](OURS))
    assert now.count("\n") == now.count("\r\n") > 5


@pytest.mark.parametrize(
    "word", ["no", "12:30:45", "0o17", "1_000", "2001-01-01", "a: b", "x #y", "plain", "é\U0001f600"]
)
def test_each_reader_of_yaml_finds_the_word_that_was_rendered(word: str) -> None:
    own = yaml.safe_dump({"env": {"B": word}, word: [word]}, default_style='"')
    now = with_ours("yaml", YAML, own)
    assert yaml.safe_load(now)["env"]["B"] == word
    assert yaml.safe_load(now)[word] == [word]
    assert SYNTAXES["yaml"].data(now)["env"]["B"] == word


def test_a_word_comes_back_as_it_was_written() -> None:
    before = "a: no\nb: 'no'\n"
    now = with_ours("yaml", before, 'a: "yes"\nb: "yes"\n')
    assert now == 'a: "yes"\nb: "yes"\n'
    assert without_ours("yaml", f"{now}c: 1\n", 'a: "yes"\nb: "yes"\n', before) == f"{before}c: 1\n"


def test_a_document_of_yaml_keeps_its_beginning() -> None:
    assert with_ours("yaml", f"---\n{YAML}", DUMPED["yaml"](OURS)).startswith("---\n# mine\n")


def test_keys_that_are_to_be_kept_are_added_only_where_they_are_missing() -> None:
    own = "name: fabric\nversion: 1\n"
    assert with_ours("yaml", "name: mine\n", own, ("name", "version")) == "name: mine\nversion: 1\n"
    assert without_ours("yaml", "name: mine\nversion: 1\nx: 2\n", own, "name: mine\n") == "name: mine\nx: 2\n"


@pytest.mark.parametrize(
    ("syntax", "theirs", "why"),
    [
        ("json", "{", "line 1"),
        ("json", "[1]", "holds a list"),
        ("json", '{"a": 1, "a": 2}', "twice"),
        ("yaml", "a: [", "cannot be read"),
        ("yaml", "- a\n", "holds a list"),
        ("yaml", "a: 1\n---\nb: 2\n", "cannot be read"),
        ("yaml", "just words", "holds a single value"),
        ("json", "null", "holds nothing"),
        ("json", "// later\nnull\n", "holds nothing"),
        ("yaml", "null\n", "holds nothing"),
        ("yaml", "~", "holds nothing"),
        ("yaml", "---\n...\n", "holds nothing"),
        ("yaml", "a: &a {x: 1}\nenv: *a\n", "without losing"),
        ("toml", "a = ", "cannot be read"),
        ("python", "x = 1\n", "file of its own"),
    ],
)
def test_what_cannot_be_merged_is_refused(syntax: str, theirs: str, why: str) -> None:
    with pytest.raises(CannotMergeError, match=why):
        with_ours(syntax, theirs, DUMPED[syntax](OURS) if syntax in DUMPED else "y = 2\n")


def test_an_edited_file_of_another_language_stays() -> None:
    assert without_ours("python", "y = 2\n", "y = 2\n", None) is None
    with pytest.raises(CannotMergeError):
        without_ours("python", "y = 3\n", "y = 2\n", None)


def test_a_value_that_somebody_turned_into_something_else_stays() -> None:
    now = '{"env": "mine", "models": [{"name": "fabric", "extra": 1}]}'
    assert without_ours("json", now, json.dumps(OURS), '{"env": {}}') == now


LINES = "export A=1\nexport B='2'\n"


@pytest.mark.parametrize("theirs", ["", "alias ll=ls\n", "no newline at the end"])
def test_lines_for_a_shell_stand_in_a_block_of_their_own(theirs: str) -> None:
    now = with_ours("shell", theirs, LINES)
    assert now.count(BEGIN) == now.count(END) == 1
    assert now.startswith(theirs)
    back = without_ours("shell", f"{now}# more\n", LINES, theirs)
    assert back == f"{theirs}{'' if not theirs or theirs.endswith(chr(10)) else chr(10)}# more\n"


def test_of_an_edited_block_only_our_lines_go() -> None:
    now = with_ours("shell", "x=1\n", LINES).replace("export B='2'", "export B=mine")
    assert without_ours("shell", now, LINES, "x=1\n") == "x=1\nexport B=mine\n"


@pytest.mark.parametrize("mark", [BEGIN, END])
def test_a_block_without_one_of_its_marks_goes_as_well(mark: str) -> None:
    now = with_ours("shell", "x=1\n", LINES).replace(f"{mark}\n", "")
    assert without_ours("shell", f"{now}y=2\n", LINES, "x=1\n") == "x=1\ny=2\n"


def test_a_line_that_stood_there_before_is_no_line_of_ours() -> None:
    now = with_ours("shell", "export A=1\n", "export A=1\n").replace(f"{BEGIN}\n", "")
    assert (without_ours("shell", now, "export A=1\n", "export A=1\n") or "").startswith("export A=1\n")


def test_a_block_without_both_marks_is_not_said_to_be_gone() -> None:
    now = with_ours("shell", "x=1\n", LINES).replace(f"{BEGIN}\n", "").replace(f"{END}\n", "")
    with pytest.raises(CannotMergeError, match="marks"):
        without_ours("shell", now, LINES, "x=1\n")
    assert without_ours("shell", "x=1\n", LINES, "x=1\n") == "x=1\n"


def test_a_block_with_line_ends_of_windows_goes_as_well() -> None:
    now = with_ours("shell", "x=1\n", LINES).replace("\n", "\r\n")
    assert without_ours("shell", f"{now}y=2\r\n", LINES, "x=1\n") == "x=1\r\ny=2\r\n"


def test_a_block_alone_leaves_no_file_and_an_empty_file_stays() -> None:
    assert without_ours("shell", with_ours("shell", None, LINES), LINES, None) is None
    assert without_ours("shell", with_ours("shell", "", LINES), LINES, "") == ""
