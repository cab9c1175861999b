"""Every field of a lock counts: none may be left out, and what is needed has to say something."""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import tomli_w

from provision.domain.artifacts import HashSource, PinnedFile, Wheel, WheelMember
from provision.domain.engine import EngineRelease, Method
from provision.domain.lock import Lock, LockedPlatform, every_wheel, lacking, platform_name
from provision.domain.model import Model
from provision.engines.vllm import Vllm
from provision.errors import InvalidInputError
from provision.knowledge.engine_files import load_engine_file
from provision.knowledge.wheel_sets import load_wheel_set
from provision.plan.lock_file import check_complete, lock_text, parse_lock, why_incomplete
from tests.unit.plan.conftest import lock_with

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

HASH = "0" * 64
WHEEL = Wheel("m", "1", "m-1-py3-none-any.whl", HASH, 1)
TOLD = (PinnedFile("x.gguf", ("https://h.example/x",), 1, HASH, HashSource.API),)


def test_a_complete_entry_lacks_nothing(entry: LockedPlatform) -> None:
    assert list(lacking(entry)) == []
    check_complete(lock_with(entry), "fabric.lock")


def with_file(entry: LockedPlatform, file: PinnedFile) -> LockedPlatform:
    return replace(entry, release=replace(entry.release, files=(file,)))


def of_method(entry: LockedPlatform, method: Method) -> LockedPlatform:
    """Return an entry whose release says how it comes here, and nothing of what."""
    return replace(entry, release=replace(entry.release, method=method, wheel=None))


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
    "the wheel": (lambda e: of_method(e, Method.WHEEL), "wheel of llamacpp/wheel/"),
    "the sources": (lambda e: of_method(e, Method.BUILD), "sdist of llamacpp/build/"),
    "the archives": (lambda e: of_method(e, Method.ARCHIVE), "files of llamacpp/archive/"),
    "a wheel set that was never looked up": (lambda e: of_method(e, Method.PACKAGES), "wheels of llamacpp/packages/"),
    "which Python a wheel set is for": (lambda e: of_method(e, Method.PACKAGES), "python of llamacpp/packages/"),
    "a program of others": (lambda e: of_method(e, Method.EXISTING), "path of llamacpp/existing/"),
    "a program of this machine": (
        lambda e: replace(e, release=replace(e.release, method=Method.EXISTING, path="/bin/x")),
        "it is /bin/x on this one",
    ),
    "a model of this machine": (
        lambda e: replace(e, model=replace(e.model, source=None, path="/m.gguf")),
        "files of smollm2-135m that other machines have",
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


MAY_SAY_NOTHING = {
    "wish",
    *(f"release.{name}" for name in ("builds", "isa", "glibc", "formats", "libraries", "wheel_set")),
    *(f"release.assets.{name}" for name in ("names", "tags", "checksums")),
    *(f"model.{name}" for name in ("quantization", "license", "parameters", "parsers.tool_call", "parsers.reasoning")),
}


def changed(document: dict[str, Any], path: tuple[str | int, ...], *, gone: bool) -> bytes:
    """Return a lock in which one field is gone, or says nothing."""
    document = copy.deepcopy(document)
    place: Any = document
    for key in path[:-1]:
        place = place[key]
    if gone:
        del place[path[-1]]
    else:
        place[path[-1]] = []
    return tomli_w.dumps(document).encode()


def checked(data: bytes) -> None:
    check_complete(parse_lock(data, "fabric.lock"), "fabric.lock")


def whole(entry: LockedPlatform, make: Any) -> dict[str, Any]:
    release, model = make(entry)
    urls = {wheel.filename: f"https://i.example/{wheel.filename}" for wheel in every_wheel(release, model)}
    text = lock_text(lock_with(LockedPlatform(release, model, urls)))
    checked(text.encode())
    document: dict[str, Any] = tomllib.loads(text)
    return document


@pytest.mark.parametrize("make", WHOLE.values(), ids=WHOLE.keys())
def test_no_field_can_be_left_out(entry: LockedPlatform, make: Any) -> None:
    document = whole(entry, make)
    fields = list(fields_of(document))
    assert len(fields) > 60, "release, model and files"
    for path, name in fields:
        with pytest.raises(InvalidInputError) as caught:
            checked(changed(document, path, gone=True))
        assert name in caught.value.message, name


@pytest.mark.parametrize("make", WHOLE.values(), ids=WHOLE.keys())
def test_what_counts_cannot_be_emptied(entry: LockedPlatform, make: Any) -> None:
    document = whole(entry, make)
    for path, name in fields_of(document):
        said: Any = document
        for key in path:
            said = said[key]
        plain = ".".join(map(str, path[2:] or path))
        if said in ([], {}) or plain in MAY_SAY_NOTHING:
            continue
        with pytest.raises(InvalidInputError) as caught:
            checked(changed(document, path, gone=False))
        assert caught.value.message.startswith("fabric.lock "), name


def test_an_empty_lock_and_an_entry_under_another_name_are_not_complete(entry: LockedPlatform) -> None:
    assert why_incomplete(Lock()) == ["an entry for any kind of machine"]
    told = why_incomplete(Lock((), {"linux-riscv64-cpu": entry}))
    assert told == ["linux-riscv64-cpu: a release for it; there is one for linux-x86_64-cpu"]
