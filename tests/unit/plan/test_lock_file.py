"""The text of a lock: reads back as what was written, is the same for the same content, and tells what is wrong."""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
import tomli_w
from hypothesis import given, settings
from hypothesis import strategies as st

from provision.domain.artifacts import HashSource, PinnedFile, Wheel, WheelMember
from provision.domain.engine import Assets, EngineRelease, Library, Method
from provision.domain.lock import Lock, LockedPlatform, every_wheel, lacking, platform_name
from provision.domain.model import AttentionGroup, Model, ModelShape
from provision.domain.selection import Selection
from provision.engines.vllm import Vllm
from provision.errors import InvalidInputError
from provision.knowledge.engine_files import load_engine_file
from provision.knowledge.wheel_sets import load_wheel_set
from provision.plan.lock_file import check_complete, check_wish, lock_text, parse_lock, why_incomplete

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

HASH = "0" * 64
WHEEL = Wheel("m", "1", "m-1-py3-none-any.whl", HASH, 1)
TOLD = (PinnedFile("x.gguf", ("https://h.example/x",), 1, HASH, HashSource.API),)
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
    embedding_length=st.none() | SIZES,
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
    "where a hash comes from": (
        lambda e: with_file(e, PinnedFile("a.tgz", ("https://x/a",), 1, HASH)),
        "the source of the SHA-256 of a.tgz",
    ),
    "the model's hash": (lambda e: replace(e, model=replace(e.model, sha256=None)), "the SHA-256 of smollm2-135m"),
    "the hub's revision": (
        lambda e: replace(e, model=replace(e.model, source=None, reference="hf:a/b", files=TOLD)),
        "the revision of smollm2-135m",
    ),
    "the registry's revision": (
        lambda e: replace(e, model=replace(e.model, source=None, reference="ollama:a:b", files=TOLD)),
        "the revision of smollm2-135m",
    ),
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
    lines = [line for line in lock_text(lock_with(entry)).splitlines() if not line.startswith("filename = ")]
    with pytest.raises(InvalidInputError) as caught:
        parse_lock("\n".join(lines).encode(), "fabric.lock")
    name = platform_name(entry.release)
    assert f"platforms.{name}.release.wheel.filename" in caught.value.message
    assert f"platforms.{name}.model.source.wheel.filename" in caught.value.message


def whole_set() -> EngineRelease:
    release = next(each for each in Vllm().releases() if each.acceleration == "cpu")
    assert release.wheel_set is not None
    return replace(release, wheels=load_wheel_set(release.wheel_set)[:2])


def whole_archive() -> EngineRelease:
    release = next(each for each in load_engine_file("llamacpp").releases if each.method is Method.ARCHIVE)
    return replace(release, build="cpu", acceleration="cpu", files=TOLD)


def fetched(model: Model, reference: str, revision: str | None) -> Model:
    return replace(
        model, reference=reference, revision=revision, source=None, sha256=HASH, files=TOLD, quantization=None
    )


WHOLE: dict[str, Callable[[LockedPlatform], tuple[EngineRelease, Model]]] = {
    "wheels": lambda e: (e.release, e.model),
    "a set of wheels, a model of the hub": lambda e: (whole_set(), fetched(e.model, "hf:a/b", "1" * 40)),
    "an archive, a model of a registry": lambda e: (whole_archive(), fetched(e.model, "ollama:a:b", HASH)),
    "sources, a model of the web": lambda e: (
        replace(e.release, method=Method.BUILD, wheel=None, libraries=(), sdist=WHEEL),
        fetched(e.model, "https://h.example/x.gguf", None),
    ),
}


def fields_of(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Yield where every field of a lock lies, and what it is called when it is not there.

    Machines are no fields: a lock is whole without one of several.
    """
    inner = enumerate(value) if isinstance(value, list) else value.items() if isinstance(value, dict) else ()
    for key, each in inner:
        here = (*path, key)
        if isinstance(value, dict) and path != ("platforms",):
            yield here, str(key) if path[-1:] == ("urls",) else ".".join(map(str, here))
        yield from fields_of(each, here)


def without(document: dict[str, Any], path: tuple[str | int, ...]) -> bytes:
    document = copy.deepcopy(document)
    place: Any = document
    for key in path[:-1]:
        place = place[key]
    del place[path[-1]]
    return tomli_w.dumps(document).encode()


@pytest.mark.parametrize("make", WHOLE.values(), ids=WHOLE.keys())
def test_no_field_can_be_left_out(entry: LockedPlatform, make: Any) -> None:
    release, model = make(entry)
    urls = {wheel.filename: f"https://i.example/{wheel.filename}" for wheel in every_wheel(release, model)}
    lock = lock_with(LockedPlatform(release, model, urls))
    check_complete(parse_lock(lock_text(lock).encode(), "fabric.lock"), "fabric.lock")
    document = tomllib.loads(lock_text(lock))
    fields = list(fields_of(document))
    assert len(fields) > 60, "release, model and files"
    for path, name in fields:
        with pytest.raises(InvalidInputError) as caught:
            check_complete(parse_lock(without(document, path), "fabric.lock"), "fabric.lock")
        assert name in caught.value.message, name


def test_an_empty_lock_and_an_entry_under_another_name_are_not_complete(entry: LockedPlatform) -> None:
    assert why_incomplete(Lock()) == ["an entry for any kind of machine"]
    told = why_incomplete(Lock((), {"linux-riscv64-cpu": entry}))
    assert told == ["linux-riscv64-cpu: a release for it; there is one for linux-x86_64-cpu"]


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
