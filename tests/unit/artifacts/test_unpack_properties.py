"""Any tree survives being packed and unpacked; no name and no byte makes anything appear elsewhere."""

from __future__ import annotations

import errno
import io
import os
import stat
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from provision.artifacts.archive.names import _folded
from provision.artifacts.unpack import Limits, unpack
from provision.errors import RefusedError
from tests.unit.artifacts.archives import (
    PACKINGS,
    Entry,
    directory,
    entry,
    hard_link,
    link,
    tar,
    zip_entry,
    zipped,
)

Tree = dict[str, "bytes | Tree"]


def distinct(tree: Tree) -> bool:
    """Tell whether no two names of a directory are one somewhere: those are refused."""
    inner = [each for each in tree.values() if isinstance(each, dict)]
    return len({_folded(name) for name in tree}) == len(tree) and all(map(distinct, inner))


LETTERS = st.characters(min_codepoint=33, max_codepoint=0x2FF, exclude_characters="/\\:", categories=("L", "N", "P"))
NAMES = st.text(LETTERS, min_size=1, max_size=12).filter(lambda name: set(name) != {"."})
CONTENT = st.binary(max_size=3000)
TREES: st.SearchStrategy[Tree] = st.recursive(
    st.dictionaries(NAMES, CONTENT, min_size=1, max_size=4),
    lambda inner: st.dictionaries(NAMES, CONTENT | inner, min_size=1, max_size=4),
    max_leaves=12,
)


def write(tree: Tree, place: Path) -> None:
    place.mkdir()
    for name, what in tree.items():
        if isinstance(what, bytes):
            (place / name).write_bytes(what)
        else:
            write(what, place / name)


def read(place: Path) -> Tree:
    return {each.name: read(each) if each.is_dir() else each.read_bytes() for each in place.iterdir()}


def zip_of(place: Path) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for each in sorted(place.rglob("*")):
            archive.write(each, each.relative_to(place.parent))
    return packed.getvalue()


def tar_of(place: Path, format_: int) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=format_) as archive:
        archive.add(place, place.name)
    return packed.getvalue()


@contextmanager
def scratch() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


@settings(max_examples=40)
@given(TREES, st.sampled_from([*PACKINGS, "zip"]), st.sampled_from([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT]))
def test_what_was_packed_comes_out_the_same(tree: Tree, packing: str, format_: int) -> None:
    assume(distinct(tree))
    with scratch() as place:
        write(tree, place / "top")
        data = zip_of(place / "top") if packing == "zip" else PACKINGS[packing](tar_of(place / "top", format_))
        (place / "archive").write_bytes(data)
        unpack(place / "archive", place / "out", strip=1)
        assert read(place / "out") == tree


PIECES = st.sampled_from(
    ["..", ".", "", "a", "A", "b", "c", "evil", "/", "C:", "~", "a\\b", "..\\", "é", "e\u0301", "\udc80", "x" * 300]
) | st.text(max_size=3)
PATHS = st.lists(PIECES, max_size=5).map("/".join)
ENTRIES = st.one_of(
    st.builds(entry, PATHS),
    st.builds(directory, PATHS),
    st.builds(link, PATHS, PATHS),
    st.builds(hard_link, PATHS, PATHS),
)


def leads_to(path: Path) -> str:
    """Where a path leads; a ring leads nowhere, whatever ``realpath`` makes of it."""
    try:
        path.stat()
    except OSError as error:
        if error.errno == errno.ELOOP:
            return str(path.absolute())
    return os.path.realpath(path)


def unpacked_or_refused(data: bytes, strip: int = 0) -> None:
    """Whatever happens: nothing beside the target, and in it nothing that leads out of it."""
    with scratch() as place:
        (place / "archive").write_bytes(data)
        out = place / "room" / "out"
        out.parent.mkdir()
        try:
            unpack(place / "archive", out, strip=strip, limits=Limits(unpacked_bytes=1 << 26))
        except RefusedError:
            assert not out.exists()
        assert {each.name for each in place.iterdir()} == {"archive", "room"}
        assert {each.name for each in out.parent.iterdir()} <= {"out"}
        for each in out.rglob("*"):
            assert stat.S_IFMT(each.lstat().st_mode) in (stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK)
            real = leads_to(each)
            assert os.path.commonpath([real, os.path.realpath(out)]) == os.path.realpath(out)


@pytest.mark.fault("hostile-archive")
@settings(max_examples=200)
@given(st.lists(ENTRIES, min_size=1, max_size=6), st.integers(0, 2))
@example([directory("a/b/c"), link("x", "a/b/c"), link("y", "x/../../..")], 0)
@example([link("a/b/x", "../.."), link("y", "a/b/x/..")], 0)
@example([link("a", "b"), link("b", "a"), entry("a/evil")], 0)
@example([link("a", "a//")], 0)
def test_no_name_and_no_link_leads_outside(entries: list[Entry], strip: int) -> None:
    try:
        data = tar(*entries)
    except (ValueError, UnicodeError):  # tarfile does not write every name that it reads
        return
    unpacked_or_refused(data, strip)


@pytest.mark.fault("hostile-archive")
@settings(max_examples=200)
@given(st.lists(st.tuples(PATHS, st.sampled_from([0, 0o100644, 0o120777, 0o040755])), min_size=1, max_size=5))
def test_no_name_in_a_zip_archive_leads_outside(names: list[tuple[str, int]]) -> None:
    entries = []
    for name, mode in names:
        info = zip_entry("x", mode)
        info.filename = name
        entries.append((info, name.encode("utf-8", "replace") if mode == 0o120777 else b""))
    try:
        data = zipped(*entries)
    except (ValueError, UnicodeError, UserWarning):
        return
    unpacked_or_refused(data)


GOOD = [entry("a/b", b"x" * 700), link("a/l", "b"), hard_link("h", "a/b"), entry("é" * 60, b"y"), directory("d")]
WHOLE = {packing: pack(tar(*GOOD)) for packing, pack in PACKINGS.items()}
WHOLE["zip"] = zipped((zip_entry("a/b"), b"x" * 700), (zip_entry("l", 0o120777), b"a"), (zip_entry("é"), b"y"))


@pytest.mark.fault("hostile-archive")
@settings(max_examples=300)
@given(st.sampled_from(list(WHOLE)), st.data())
def test_damaged_bytes_are_unpacked_or_refused(packing: str, data: st.DataObject) -> None:
    changed = bytearray(WHOLE[packing])
    for _ in range(data.draw(st.integers(1, 5))):
        at = data.draw(st.integers(0, len(changed)))
        changed[at : at + data.draw(st.sampled_from([0, 1, 4, 8]))] = data.draw(st.binary(max_size=8))
    unpacked_or_refused(bytes(changed))


def checksummed(header: bytes) -> bytes:
    total = sum(header[:148]) + 8 * 32 + sum(header[156:512])
    return header[:148] + f"{total:06o}\0 ".encode() + header[156:]


@pytest.mark.fault("hostile-archive")
@settings(max_examples=200)
@given(st.data())
def test_a_header_with_anything_in_it_is_unpacked_or_refused(data: st.DataObject) -> None:
    """Its checksum is right, so that all of it is looked at."""
    changed = bytearray(tar(*GOOD))
    for block in data.draw(st.lists(st.integers(0, len(changed) // 512 - 3), min_size=1, max_size=3)):
        start = block * 512
        at = start + data.draw(st.integers(0, 511) | st.sampled_from([100, 124, 156, 157, 345]))
        value = data.draw(st.binary(min_size=1, max_size=12))[: start + 512 - at]
        changed[at : at + len(value)] = value
        changed[start : start + 512] = checksummed(bytes(changed[start : start + 512]))
    unpacked_or_refused(bytes(changed))


@settings(max_examples=100)
@given(
    st.sampled_from([b"PK\3\4", b"\x1f\x8b\x08", b"\x28\xb5\x2f\xfd", bytes(257) + b"ustar"]), st.binary(max_size=600)
)
def test_anything_after_the_first_bytes_is_refused(magic: bytes, data: bytes) -> None:
    with scratch() as place:
        (place / "archive").write_bytes(magic + data)
        with pytest.raises(RefusedError):
            unpack(place / "archive", place / "out")
