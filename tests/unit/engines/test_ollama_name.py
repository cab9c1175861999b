"""Names and digests: read as Ollama reads them, and nothing hostile becomes a path."""

from __future__ import annotations

from pathlib import PurePosixPath

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from provision.domain.ollama_name import name_of_path, names_match, parse_name, sha256_of
from provision.errors import InvalidInputError, UsageError
from tests.standin import ollama_disk

DIGITS = "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("text", "path", "short"),
    [
        ("qwen3", "registry.ollama.ai/library/qwen3/latest", "qwen3:latest"),
        ("qwen3:0.6b", "registry.ollama.ai/library/qwen3/0.6b", "qwen3:0.6b"),
        ("me/mine:v1", "registry.ollama.ai/me/mine/v1", "me/mine:v1"),
        ("registry.ollama.ai/library/qwen3", "registry.ollama.ai/library/qwen3/latest", "qwen3:latest"),
        ("hf.co/Org/Repo-GGUF:Q4_K_M", "hf.co/Org/Repo-GGUF/Q4_K_M", "hf.co/Org/Repo-GGUF:Q4_K_M"),
        ("http://127.0.0.1:5000/library/m", "127.0.0.1:5000/library/m/latest", "127.0.0.1:5000/library/m:latest"),
        ("127.0.0.1:5000/library/m:t", "127.0.0.1:5000/library/m/t", "127.0.0.1:5000/library/m:t"),
    ],
)
def test_a_name_gets_what_it_leaves_out(text: str, path: str, short: str) -> None:
    name = parse_name(text)
    assert (name.path, name.short) == (path, short)
    assert name_of_path(path) == name
    assert parse_name(name.short) == parse_name(name.full) == name


@pytest.mark.parametrize(
    "text",
    ["", ":", "a:", ":b", "/", "a/", "/a", "a//b", "..", "../a", "a/..", "a/../b", "a:..", ".a", "a b", "a\n", "a\\b",
     "ä", "a/b/c/d", "n.s/m", "-a", "a:-b", "a\0", "x" * 81, "a:" + "x" * 81, "ftp://h/n/m"],
)  # fmt: skip
def test_what_ollama_refuses_is_no_name(text: str) -> None:
    with pytest.raises(UsageError):
        parse_name(text)
    assert not names_match(text, text)


@pytest.mark.parametrize("path", ["a/b/c", "a/b/c/d/e", "../b/c/d", "a/b/c/..", "a/b//d", "/b/c/d"])
def test_a_path_that_is_no_name_is_refused(path: str) -> None:
    with pytest.raises(UsageError):
        name_of_path(path)


def test_names_match_as_ollama_matches_them() -> None:
    assert names_match("x", "x:latest")
    assert names_match("X:Latest", "registry.ollama.ai/library/x")
    assert not names_match("x:1b", "x")
    assert not names_match("me/x", "x")


@example("://9")
@given(st.text(alphabet=st.sampled_from("aZ9_.-:/\\ \0é%"), max_size=24))
def test_whatever_is_accepted_stays_below_its_directory_and_is_a_name_to_upstream_too(text: str) -> None:
    try:
        name = parse_name(text)
    except UsageError:
        assert ollama_disk.parse(text) is None
        return
    parts = PurePosixPath(name.path).parts
    assert len(parts) == 4
    assert not {".", ".."} & set(parts)
    assert ollama_disk.parse(text) == parts


@pytest.mark.parametrize("digest", [DIGITS, f"sha256:{DIGITS}", f"sha256-{DIGITS}", f"sha256:{DIGITS.upper()}"])
def test_a_digest_is_its_digits(digest: str) -> None:
    assert sha256_of(digest) == DIGITS


@pytest.mark.parametrize(
    "digest", ["", "sha256:", DIGITS[1:], f"{DIGITS}0", f"md5:{DIGITS}", f"sha256:{DIGITS}\n", f"../{DIGITS}", "g" * 64]
)
def test_anything_else_is_no_digest(digest: str) -> None:
    with pytest.raises(InvalidInputError):
        sha256_of(digest)
