"""The text of a lock: reads back as what was written, is the same for the same content, and tells what is wrong."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from provision.domain.artifacts import PinnedFile, Wheel, WheelMember
from provision.domain.engine import Assets, EngineRelease, Library, Method
from provision.domain.lock import Lock, LockedPlatform, every_wheel, lacking, platform_name
from provision.domain.model import AttentionGroup, Model, ModelShape
from provision.domain.selection import Selection
from provision.errors import InvalidInputError
from provision.plan.lock_file import check_complete, check_wish, lock_text, parse_lock, why_incomplete

HASH = "0" * 64
WHEEL = Wheel("m", "1", "m-1-py3-none-any.whl", HASH, 1)
WORDS = st.sampled_from(["", "x", 'a "b" \\', "é\n\t\x7f", "1.5", "true", "[a]", "a.b-c"]) | st.text(max_size=4)
SIZES = st.integers(0, 2**62)
MAYBE = st.none() | WORDS
WHEELS = st.builds(Wheel, WORDS, WORDS, WORDS, WORDS, SIZES)
FILES = st.builds(PinnedFile, WORDS, st.lists(WORDS, max_size=2).map(tuple), st.none() | SIZES, MAYBE)
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


@pytest.fixture
def entry(selection: Selection) -> LockedPlatform:
    """A complete one."""
    release, model = selection.release, selection.model
    wheels = every_wheel(release, model)
    return LockedPlatform(release, model, {wheel.filename: f"https://i.example/{wheel.filename}" for wheel in wheels})


def lock_with(entry: LockedPlatform) -> Lock:
    return Lock(("--model", "x"), {platform_name(entry.release): entry}, "1")


def test_a_complete_entry_lacks_nothing(entry: LockedPlatform) -> None:
    assert list(lacking(entry)) == []
    check_complete(lock_with(entry), "fabric.lock")


def with_file(entry: LockedPlatform, file: PinnedFile) -> LockedPlatform:
    return replace(entry, release=replace(entry.release, files=(file,)))


LACKING: dict[str, tuple[Callable[[LockedPlatform], LockedPlatform], str]] = {
    "an address": (lambda e: with_file(e, PinnedFile("a.tgz", (), 1, HASH)), "an address of a.tgz"),
    "a size": (lambda e: with_file(e, PinnedFile("a.tgz", ("https://x/a",), None, HASH)), "a size of a.tgz"),
    "a hash": (lambda e: with_file(e, PinnedFile("a.tgz", ("https://x/a",), 1)), "a SHA-256 of a.tgz"),
    "addresses of wheels": (lambda e: replace(e, urls={}), "an address of xllamacpp"),
    "the wheel's hash": (
        lambda e: replace(e, release=replace(e.release, wheel=Wheel("x", "1", "xllamacpp-1.whl", "", 1))),
        "a SHA-256 of xllamacpp",
    ),
    "the member's hash": (
        lambda e: replace(e, model=replace(e.model, source=WheelMember(WHEEL, "m/x.gguf", None, 1, 1))),
        "a SHA-256 of m/x.gguf",
    ),
    "files that were never looked up": (
        lambda e: replace(e, model=replace(e.model, source=None)),
        "the files of smollm2-135m",
    ),
    "a wheel set that was never looked up": (
        lambda e: replace(e, release=replace(e.release, wheel_set="some")),
        "the files of llamacpp/wheel/",
    ),
    "a model of this machine": (
        lambda e: replace(e, model=replace(e.model, source=None, path="/m.gguf")),
        "the files of smollm2-135m",
    ),
}


@pytest.mark.parametrize(("spoil", "told"), LACKING.values(), ids=LACKING.keys())
def test_what_is_missing_is_told(
    entry: LockedPlatform, spoil: Callable[[LockedPlatform], LockedPlatform], told: str
) -> None:
    spoilt = lock_with(spoil(entry))
    assert any(told in line for line in why_incomplete(spoilt))
    with pytest.raises(InvalidInputError, match="is not complete") as caught:
        check_complete(spoilt, "fabric.lock")
    assert told in caught.value.message


def test_everything_that_is_missing_is_told_at_once(entry: LockedPlatform) -> None:
    text = lock_text(lock_with(with_file(entry, PinnedFile("a.tgz", ("https://x/a",), 1, HASH))))
    lines = [line for line in text.splitlines() if not line.startswith(("filename = ", "quantization = "))]
    with pytest.raises(InvalidInputError) as caught:
        parse_lock("\n".join(lines).encode(), "fabric.lock")
    name = platform_name(entry.release)
    assert f"platforms.{name}.release.wheel.filename" in caught.value.message
    assert f"platforms.{name}.model.source.wheel.filename" in caught.value.message
    assert "quantization" not in caught.value.message, "what may be nothing may be left out"


def test_an_empty_lock_and_an_entry_under_another_name_are_not_complete(entry: LockedPlatform) -> None:
    assert why_incomplete(Lock()) == ["an entry for any kind of machine"]
    told = why_incomplete(Lock((), {"linux-riscv64-cpu": entry}))
    assert told == ["linux-riscv64-cpu: a release for it; there is one for linux-x86_64-cpu"]


def test_another_wish_is_told_with_both(entry: LockedPlatform) -> None:
    check_wish(lock_with(entry), ["--model", "x"], "fabric.lock")
    with pytest.raises(InvalidInputError, match="made for another wish: --model x, not no options"):
        check_wish(lock_with(entry), [], "fabric.lock")


BROKEN = {
    "lock_version = 1\nwish = [[\nx = 1\n": "line 3",
    "lock_version = 1\n=======\n": "in line 2",
    "wish = []": "lock_version None",
    "lock_version = 1\ncolour = 1": "colour",
    "lock_version = 1\nwish = 3": "wish",
    'lock_version = 1\nplatforms = "none"': "platforms",
}


@pytest.mark.parametrize(("text", "told"), BROKEN.items())
def test_a_broken_file_is_refused_with_what_is_wrong(text: str, told: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        parse_lock(text.encode(), "fabric.lock")
    assert told in caught.value.message
    assert "`fabric lock`" in (caught.value.hint or "")
