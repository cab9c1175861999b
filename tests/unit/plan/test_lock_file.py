"""The text of a lock: reads back as what was written, is the same for the same content, and tells what is wrong."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from provision.domain.artifacts import HashSource, PinnedFile, Wheel, WheelMember
from provision.domain.engine import Assets, EngineRelease, Library, Method
from provision.domain.lock import Lock, LockedPlatform
from provision.domain.model import AttentionGroup, Model, ModelShape
from provision.errors import InvalidInputError
from provision.plan.lock_file import check_wish, lock_text, parse_lock
from tests.unit.plan.conftest import lock_with

WORDS = st.sampled_from(["", "x", 'a "b" \\', "é\n\t\x7f", "1.5", "true", "[a]", "a.b-c"]) | st.text(max_size=4)
SIZES = st.integers(0, 2**62)
MAYBE = st.none() | WORDS
WHEELS = st.builds(Wheel, WORDS, WORDS, WORDS, WORDS, SIZES)
SOURCES = st.none() | st.sampled_from(HashSource)
FILES = st.builds(PinnedFile, WORDS, st.lists(WORDS, max_size=2).map(tuple), st.none() | SIZES, MAYBE, SOURCES)
MEMBERS = st.builds(WheelMember, WHEELS, WORDS, MAYBE, SIZES, SIZES)
ASSETS = st.builds(Assets, WORDS, WORDS, st.lists(WORDS, max_size=2).map(tuple), MAYBE, MAYBE, st.integers(0, 3))
RELEASES = st.builds(
    EngineRelease,
    *[WORDS] * 6,
    SIZES,
    WORDS,
    method=st.sampled_from(Method),
    builds=st.lists(WORDS, max_size=2).map(tuple),
    isa=st.lists(WORDS, max_size=2).map(tuple),
    glibc=MAYBE,
    formats=st.lists(WORDS, max_size=2).map(tuple),
    wheel=st.none() | WHEELS,
    libraries=st.lists(st.builds(Library, WORDS, MEMBERS), max_size=1).map(tuple),
    wheel_set=MAYBE,
    wheels=st.lists(WHEELS, max_size=2).map(tuple),
    python=MAYBE,
    sdist=st.none() | WHEELS,
    assets=st.none() | ASSETS,
    files=st.lists(FILES, max_size=2).map(tuple),
    path=MAYBE,
)
SHAPES = st.builds(
    ModelShape,
    WORDS,
    *[SIZES] * 5,
    attention=st.lists(st.builds(AttentionGroup, *[SIZES] * 4, st.none() | SIZES), max_size=2).map(tuple),
    recurrent_bytes=SIZES,
)
MODELS = st.builds(
    Model,
    WORDS,
    WORDS,
    WORDS,
    MAYBE,
    SIZES,
    MAYBE,
    SHAPES,
    source=st.none() | MEMBERS,
    files=st.lists(FILES, max_size=2).map(tuple),
    revision=MAYBE,
    path=MAYBE,
    weights_bytes=st.none() | SIZES,
)
ENTRIES = st.builds(LockedPlatform, RELEASES, MODELS, st.dictionaries(WORDS, WORDS, max_size=2))
LOCKS = st.builds(
    Lock, st.lists(WORDS, max_size=3).map(tuple), st.dictionaries(WORDS, ENTRIES, max_size=2), fabric_version=WORDS
)


@settings(max_examples=40, deadline=None)
@given(LOCKS)
def test_what_is_written_reads_back_as_it_was(lock: Lock) -> None:
    text = lock_text(lock)
    assert parse_lock(text.encode(), "fabric.lock") == lock
    assert lock_text(parse_lock(text.encode(), "fabric.lock")) == text


@settings(max_examples=15, deadline=None)
@given(LOCKS)
def test_the_order_in_which_it_was_gathered_does_not_show(lock: Lock) -> None:
    def reversed_of(entry: LockedPlatform) -> LockedPlatform:
        return replace(entry, urls=dict(reversed(entry.urls.items())))

    turned = {name: reversed_of(entry) for name, entry in reversed(lock.platforms.items())}
    assert lock_text(replace(lock, platforms=turned)) == lock_text(lock)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_whatever_is_in_the_file_it_is_read_or_refused(data: bytes) -> None:
    for head in (b"", b"lock_version = 1\n"):
        with suppress(InvalidInputError):
            assert parse_lock(head + data, "fabric.lock").lock_version == 1


def test_another_wish_is_told_with_both(entry: LockedPlatform) -> None:
    check_wish(lock_with(entry), ("--model", "x"), "fabric.lock")
    with pytest.raises(InvalidInputError, match="made for another wish: --model x, not no options"):
        check_wish(lock_with(entry), (), "fabric.lock")


EMPTY = 'lock_version = 1\nfabric_version = "1"\nwish = []\nplatforms = {}\n'
BROKEN = {
    "lock_version = 1\nwish = [[\nx = 1\n": "line 3",
    "lock_version = 1\n=======\n": "in line 2",
    "wish = []": "lock_version None",
    f"{EMPTY}colour = 1": "colour",
    EMPTY.replace("wish = []", "wish = 3"): "wish",
    EMPTY.replace("platforms = {}", 'platforms = "none"'): "platforms",
}


@pytest.mark.parametrize(("text", "told"), BROKEN.items())
def test_a_broken_file_is_refused_with_what_is_wrong(text: str, told: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        parse_lock(text.encode(), "fabric.lock")
    assert told in caught.value.message
    assert "`fabric lock`" in (caught.value.hint or "")
