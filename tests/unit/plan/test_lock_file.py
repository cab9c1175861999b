"""The text of a lock: reads back as what was written, is the same for the same content, and tells what is wrong."""

from __future__ import annotations

from collections.abc import Callable
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

HASH = "0" * 64
WHEEL = Wheel("m", "1", "m-1-py3-none-any.whl", HASH, 1)
WORDS = st.sampled_from(["", "x", 'a "b" \\', "é\n\t\x7f", "1.5", "true", "[a]", "a.b-c"]) | st.text(max_size=4)
NAMES = st.sampled_from(["x", 'a "b"', "é", "1.5", "true", "[a]", "a.b-c"])  # of those that may become paths
HASHES = st.sampled_from([HASH, "f" * 64, ""])
SIZES = st.integers(0, 2**62)
MAYBE = st.none() | WORDS
WHEELS = st.builds(Wheel, WORDS, WORDS, NAMES, HASHES, SIZES)
SOURCES = st.none() | st.sampled_from(HashSource)
FILES = st.builds(
    PinnedFile, NAMES, st.lists(WORDS, max_size=2).map(tuple), st.none() | SIZES, st.none() | HASHES, SOURCES
)
MEMBERS = st.builds(WheelMember, WHEELS, NAMES, st.none() | HASHES, SIZES, SIZES)
ASSETS = st.builds(Assets, WORDS, WORDS, st.lists(WORDS, max_size=2).map(tuple), MAYBE, MAYBE, st.integers(0, 3))
RELEASES = st.builds(
    EngineRelease,
    NAMES,
    WORDS,
    NAMES,
    *[WORDS] * 3,
    SIZES,
    WORDS,
    method=st.sampled_from(Method),
    builds=st.lists(WORDS, max_size=2).map(tuple),
    isa=st.lists(WORDS, max_size=2).map(tuple),
    glibc=MAYBE,
    formats=st.lists(WORDS, max_size=2).map(tuple),
    wheel=st.none() | WHEELS,
    libraries=st.lists(st.builds(Library, NAMES, MEMBERS), max_size=1).map(tuple),
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
    NAMES,
    MAYBE,
    SIZES,
    st.none() | HASHES,
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


@settings(max_examples=40)
@given(LOCKS)
def test_what_is_written_reads_back_as_it_was(lock: Lock) -> None:
    text = lock_text(lock)
    assert parse_lock(text.encode(), "fabric.lock") == lock
    assert lock_text(parse_lock(text.encode(), "fabric.lock")) == text


@settings(max_examples=15)
@given(LOCKS)
def test_the_order_in_which_it_was_gathered_does_not_show(lock: Lock) -> None:
    def reversed_of(entry: LockedPlatform) -> LockedPlatform:
        return replace(entry, urls=dict(reversed(entry.urls.items())))

    turned = {name: reversed_of(entry) for name, entry in reversed(lock.platforms.items())}
    assert lock_text(replace(lock, platforms=turned)) == lock_text(lock)


@settings(max_examples=100)
@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_whatever_is_in_the_file_it_is_read_or_refused(data: bytes) -> None:
    for head in (b"", b"lock_version = 1\n"):
        with suppress(InvalidInputError):
            assert parse_lock(head + data, "fabric.lock").lock_version == 1


CLIMBS = "../../../home/.ssh/authorized_keys"
LIBRARY = Library("libx.so", WheelMember(WHEEL, "x/libx.so", HASH, 1, 1))
UNSAFE: dict[str, Callable[[EngineRelease, Model], tuple[EngineRelease, Model]]] = {
    "a wheel": lambda release, model: (replace(release, wheel=replace(WHEEL, filename=CLIMBS)), model),
    "one of several": lambda release, model: (replace(release, wheels=(replace(WHEEL, filename="/x"),)), model),
    "sources": lambda release, model: (replace(release, sdist=replace(WHEEL, filename="a/b")), model),
    "a library": lambda release, model: (replace(release, libraries=(replace(LIBRARY, name=CLIMBS),)), model),
    "a version": lambda release, model: (replace(release, version="/../../x"), model),
    "a file": lambda release, model: (replace(release, files=(PinnedFile("a/../b", ()),)), model),
    "a model's file": lambda release, model: (release, replace(model, files=(PinnedFile(CLIMBS, ()),))),
    "a model's format": lambda release, model: (release, replace(model, format="gguf/../../x")),
    "a model's hash": lambda release, model: (release, replace(model, sha256=CLIMBS)),
    "a file's hash": lambda release, model: (release, replace(model, files=(PinnedFile("x", (), 1, CLIMBS),))),
    "a member": lambda release, model: (release, replace(model, source=replace(LIBRARY.source, path=CLIMBS))),
    "a member's hash": lambda release, model: (release, replace(model, source=replace(LIBRARY.source, sha256="../x"))),
}


@pytest.mark.parametrize("spoil", UNSAFE.values(), ids=UNSAFE.keys())
def test_a_name_that_could_leave_its_directory_makes_a_lock_useless(
    entry: LockedPlatform, spoil: Callable[[EngineRelease, Model], tuple[EngineRelease, Model]]
) -> None:
    release, model = spoil(entry.release, entry.model)
    text = lock_text(lock_with(replace(entry, release=release, model=model)))
    with pytest.raises(InvalidInputError, match=r"fabric\.lock cannot be used: .* is not a .* that a lock can have"):
        parse_lock(text.encode(), "fabric.lock")


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
