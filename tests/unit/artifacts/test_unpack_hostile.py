"""Archives that want to write elsewhere, fill the disk or confuse: refused, and nothing of them stays."""

from __future__ import annotations

import gzip
import io
import stat
import tarfile
import warnings
import zipfile
from pathlib import Path

import pytest

from provision.artifacts.archive import member
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

DEEP = "/".join("d" * 33)
BAD_NAMES = {
    "parent": "../evil",
    "parent inside": "a/../../evil",
    "parent at the end": "a/..",
    "parent that stays inside": "a/../b",
    "absolute": "/evil/file",
    "two slashes": "//evil",
    "empty part": "a//b",
    "backslash": "a\\evil",
    "Windows parent": "..\\evil",
    "drive": "C:/evil",
    "drive without slash": "c:evil",
    "newline": "a\nb",
    "escape": "a\x1b[2Jb",
    "not UTF-8": "a\udcffb",
    "long part": "x" * 256,
    "long part in other letters": "ü" * 128,
    "long path": "/".join(["x" * 200] * 6),
    "deep": DEEP,
    "a slash at the end": "file/",
    "the directory itself": ".",
}


def refused(tmp_path: Path, data: bytes, match: str = "is", **options: object) -> None:
    """What is in the way of the archive, beside and above the target, is as before."""
    outside = tmp_path / "outside"
    outside.mkdir(exist_ok=True)
    (outside / "precious").write_bytes(b"precious")
    archive = tmp_path / "evil.archive"
    archive.write_bytes(data)
    with pytest.raises(RefusedError, match=match) as told:
        unpack(archive, outside / "target", **options)  # type: ignore[arg-type]
    assert told.value.message.startswith("evil.archive ")
    assert told.value.message.isprintable()
    assert sorted(str(each.relative_to(tmp_path)) for each in tmp_path.rglob("*")) == [
        "evil.archive", "outside", "outside/precious",
    ]  # fmt: skip
    assert (outside / "precious").read_bytes() == b"precious"


@pytest.mark.fault("hostile-archive")
@pytest.mark.parametrize("name", BAD_NAMES.values(), ids=BAD_NAMES.keys())
@pytest.mark.parametrize("format_", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT], ids=["pax", "gnu"])
def test_an_unsafe_name_in_a_tar_archive_is_refused(tmp_path: Path, name: str, format_: int) -> None:
    refused(tmp_path, tar(entry("good"), entry(name), format_=format_))


@pytest.mark.fault("hostile-archive")
@pytest.mark.parametrize("name", [name for name in BAD_NAMES.values() if "\udcff" not in name and name != "file/"])
def test_an_unsafe_name_in_a_zip_archive_is_refused(tmp_path: Path, name: str) -> None:
    info = zip_entry("x")
    info.filename = name
    refused(tmp_path, zipped((zip_entry("good"), b"x"), (info, b"x")))


@pytest.mark.fault("hostile-archive")
def test_a_name_that_hides_behind_a_nul_is_refused(tmp_path: Path) -> None:
    shown = zipped((zip_entry("good/safe"), b"x")).replace(b"good/safe", b"good\0safe")
    refused(tmp_path, shown, "no text")
    refused(tmp_path, tar(entry("a", pax_headers={"path": "good\0/../../evil"})))


@pytest.mark.fault("hostile-archive")
def test_an_empty_name_is_refused(tmp_path: Path) -> None:
    refused(tmp_path, tar(entry("", b"x")), "empty name")
    refused(tmp_path, tar(entry("good"), directory("/")))


CLASHES: dict[str, tuple[Entry, ...]] = {
    "twice": (entry("a"), entry("a")),
    "twice with a dot": (entry("a"), entry("./a")),
    "case": (entry("README"), entry("readme")),
    "case of a directory": (entry("Lib/a"), entry("lib/b")),
    "sharp s": (entry("straße"), entry("STRASSE")),
    "composed and decomposed": (entry("caf\u00e9"), entry("cafe\u0301")),
    "ligature": (entry("ﬁle"), entry("file")),
    "file and directory": (entry("a"), directory("a")),
    "directory and file": (directory("a"), entry("a")),
    "file as a directory": (entry("a"), entry("a/b")),
    "link and file": (link("a", "b"), entry("a")),
    "file and link": (entry("a"), link("a", "b")),
    "file and hard link": (entry("a"), entry("b"), hard_link("a", "b")),
    "link and directory": (link("a", "b"), directory("a")),
}


@pytest.mark.fault("hostile-archive")
@pytest.mark.parametrize("entries", CLASHES.values(), ids=CLASHES.keys())
def test_two_members_that_are_one_file_somewhere_are_refused(tmp_path: Path, entries: tuple[Entry, ...]) -> None:
    refused(tmp_path, tar(*entries), "is unsafe")


def test_a_directory_may_be_named_again(tmp_path: Path) -> None:
    archive = tmp_path / "good.tar"
    archive.write_bytes(tar(entry("a/b"), directory("a"), directory("a")))
    unpack(archive, tmp_path / "out")
    assert (tmp_path / "out/a/b").read_bytes() == b"x"


LINKS: dict[str, tuple[Entry, ...]] = {
    "absolute": (link("a", "/etc/passwd"),),
    "parent": (link("a", ".."),),
    "parent of a directory": (link("d/a", "../../outside"),),
    "through a name": (directory("d"), link("a", "d/../../outside")),
    "a parent after a name, inside": (directory("d"), link("a", "d/../b")),
    "empty": (link("a", ""),),
    "backslash": (link("a", "..\\evil"),),
    "too long": (link("a", "x/" * 2000),),
    "written through": (link("a", "d"), directory("d"), entry("a/evil")),
    "written through, not there yet": (link("a", "d"), entry("a/evil")),
    "written through as a directory": (link("a", "."), directory("a/evil")),
    "link to a link's parent": (directory("d/e"), link("up", "d/e"), link("a", "up/../../..")),
    "hard link outside": (hard_link("a", "../precious"),),
    "hard link to an absolute name": (hard_link("a", "/etc/passwd"),),
    "hard link to nothing": (hard_link("a", "b"),),
    "hard link to what comes later": (hard_link("a", "b"), entry("b")),
    "hard link to a link": (link("b", "c"), hard_link("a", "b")),
    "hard link to a directory": (directory("b"), hard_link("a", "b")),
    "hard link through a link": (entry("d/f"), link("l", "d"), hard_link("a", "l/f")),
    "hard link to another case": (entry("B"), hard_link("a", "b")),
    "hard link to itself": (hard_link("a", "a"),),
}


@pytest.mark.fault("hostile-archive")
@pytest.mark.parametrize("entries", LINKS.values(), ids=LINKS.keys())
def test_a_link_that_could_lead_outside_is_refused(tmp_path: Path, entries: tuple[Entry, ...]) -> None:
    refused(tmp_path, tar(*entries), "is unsafe")


@pytest.mark.fault("hostile-archive")
@pytest.mark.parametrize("target", ["/etc/passwd", "..", "../x", "d/../x", "", "a\\b", "x" * 1025])
def test_a_link_in_a_zip_archive_obeys_the_same_rules(tmp_path: Path, target: str) -> None:
    refused(tmp_path, zipped((zip_entry("a", stat.S_IFLNK | 0o777), target.encode())), "is unsafe")


def test_links_to_links_end_inside(tmp_path: Path) -> None:
    archive = tmp_path / "good.tar"
    archive.write_bytes(tar(link("x/one", "../y/two"), link("y/two", "three"), entry("y/three"), link("loop", "loop")))
    unpack(archive, tmp_path / "out")
    assert (tmp_path / "out/x/one").read_bytes() == b"x"


def test_a_link_that_is_stripped_of_its_directory_still_stays_inside(tmp_path: Path) -> None:
    refused(tmp_path, tar(link("top/a", "../top/b"), entry("top/b")), "is unsafe", strip=1)


@pytest.mark.fault("hostile-archive")
@pytest.mark.parametrize(
    "entries",
    [(entry("top/a"), entry("other/b")), (entry("a"),), (entry("top/a"), link("b", "top/a")), (hard_link("a", "b"),)],
)
def test_what_is_beside_the_only_directory_is_refused(tmp_path: Path, entries: tuple[Entry, ...]) -> None:
    refused(tmp_path, tar(*entries), "beside its top directory", strip=1)


KINDS: dict[str, Entry] = {
    "character device": entry("a", kind=tarfile.CHRTYPE, devmajor=1, devminor=3),
    "block device": entry("a", kind=tarfile.BLKTYPE, devmajor=8),
    "fifo": entry("a", kind=tarfile.FIFOTYPE),
    "contiguous": entry("a", kind=tarfile.CONTTYPE),
    "unknown": entry("a", kind=b"Z"),
    "multi-volume": entry("a", kind=b"M"),
    "dumped directory": entry("a", kind=b"D"),
    "old sparse": entry("a", kind=tarfile.GNUTYPE_SPARSE),
    "new sparse": entry("a", pax_headers={"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": "b"}),
    "sparse by a map": entry("a", pax_headers={"GNU.sparse.map": "0,1", "GNU.sparse.size": "9999999999999"}),
    "setuid": entry("a", mode=0o4755),
    "setgid": entry("a", mode=0o2755),
    "setgid directory": entry("a", kind=tarfile.DIRTYPE, mode=0o2755),
}


@pytest.mark.fault("hostile-archive")
@pytest.mark.parametrize("one", KINDS.values(), ids=KINDS.keys())
def test_what_is_no_plain_file_is_refused(tmp_path: Path, one: Entry) -> None:
    refused(tmp_path, tar(entry("good"), one))


MODES = [stat.S_IFCHR, stat.S_IFBLK, stat.S_IFIFO, stat.S_IFSOCK, stat.S_IFREG | 0o4755, stat.S_IFREG | 0o2755]


@pytest.mark.fault("hostile-archive")
@pytest.mark.parametrize("mode", MODES, ids=oct)
def test_what_is_no_plain_file_in_a_zip_archive_is_refused(tmp_path: Path, mode: int) -> None:
    refused(tmp_path, zipped((zip_entry("good"), b"x"), (zip_entry("a", mode), b"")))


@pytest.mark.fault("hostile-archive")
@pytest.mark.parametrize("size", ["-1", "-512", "99999999999999999999", "1e3", "", "0"])
def test_a_size_that_lies_is_refused(tmp_path: Path, size: str) -> None:
    refused(tmp_path, tar(entry("a", b"x" * 512, pax_headers={"size": size}), entry("b")))


@pytest.mark.fault("hostile-archive")
def test_a_header_that_would_fill_the_memory_is_refused(tmp_path: Path) -> None:
    comment = tar(entry("a", pax_headers={"comment": "x" * (8 << 20)}))
    refused(tmp_path, gzip.compress(comment), "a header has more than")
    chain = b"".join(tar(entry("a", pax_headers={"comment": "x"}))[:1024] for _ in range(100))
    refused(tmp_path, chain + tar(entry("a")))


@pytest.mark.fault("hostile-archive")
def test_headers_in_headers_are_refused(tmp_path: Path) -> None:
    long_name = tarfile.TarInfo("././@LongLink")
    long_name.type = tarfile.GNUTYPE_LONGNAME
    refused(tmp_path, long_name.tobuf(tarfile.GNU_FORMAT) * 5000)


def bomb(packing: str) -> bytes:
    zeros = bytes(8 << 20)
    if packing == "zip":
        return zipped(*((zip_entry(str(number)), zeros) for number in range(3)))
    return PACKINGS[packing](tar(*(entry(str(number), zeros) for number in range(3))))


@pytest.mark.fault("hostile-archive")
@pytest.mark.parametrize("packing", ["tar.gz", "tar.zst", "zip"])
@pytest.mark.parametrize("limits", [Limits(unpacked_bytes=20 << 20), Limits(ratio=10, small_bytes=1 << 20)])
def test_a_bomb_is_refused(tmp_path: Path, packing: str, limits: Limits) -> None:
    refused(tmp_path, bomb(packing), "not believable", limits=limits)


@pytest.mark.fault("hostile-archive")
def test_a_size_that_cannot_be_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    huge = tarfile.TarInfo("huge")
    huge.size = 31 << 30
    refused(tmp_path, huge.tobuf() + bytes(1024), "not believable")


@pytest.mark.fault("hostile-archive")
def test_zeros_without_end_after_the_end_are_refused(tmp_path: Path) -> None:
    refused(tmp_path, gzip.compress(tar(entry("a")) + bytes(8 << 20)), "after its end")


@pytest.mark.fault("hostile-archive")
def test_more_members_than_any_engine_has_are_refused(tmp_path: Path) -> None:
    three = Limits(members=3)
    refused(tmp_path, tar(*(entry(str(n)) for n in range(4))), "more than the 3", limits=three)
    refused(tmp_path, tar(entry("a/b/c/d")), "more than the 3", limits=three)
    refused(tmp_path, zipped(*((zip_entry(str(n)), b"") for n in range(4))), "more than the 3", limits=three)


@pytest.mark.fault("hostile-archive")
def test_an_encrypted_member_is_refused(tmp_path: Path) -> None:
    data = bytearray(zipped((zip_entry("a"), b"x")))
    data[6] |= 1
    data[data.index(b"PK\x01\x02") + 8] |= 1
    refused(tmp_path, bytes(data), "encrypted")


@pytest.mark.fault("hostile-archive")
@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_an_unusual_compression_is_refused(tmp_path: Path, method: int) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", method) as archive:
        archive.writestr("a", b"x" * 1000)
    refused(tmp_path, packed.getvalue(), "unusual")


@pytest.mark.fault("hostile-archive")
def test_two_members_of_one_name_in_a_zip_archive_are_refused(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data = zipped((zip_entry("a"), b"x"), (zip_entry("a"), b"y"))
    refused(tmp_path, data, "a file already")


@pytest.mark.fault("hostile-archive")
def test_a_zip_archive_whose_table_names_another_file_is_refused(tmp_path: Path) -> None:
    data = zipped((zip_entry("safe"), b"x"))
    at = data.rindex(b"safe")
    refused(tmp_path, data[:at] + b"evil" + data[at + 4 :], "is damaged")


@pytest.mark.fault("hostile-archive")
def test_a_table_of_contents_that_would_fill_the_memory_is_refused(tmp_path: Path) -> None:
    info = zip_entry("a")
    info.comment = b"x" * 60_000
    data = zipped(*((zip_entry(str(n)), b"") for n in range(2)))
    many = zipfile.ZipFile(io.BytesIO(data))
    many.close()
    entries = [(zip_entry(f"{n}"), b"") for n in range(300)]
    for each, _ in entries:
        each.comment = info.comment
    refused(tmp_path, zipped(*entries), "one part of it")


def test_a_name_is_shown_without_what_a_terminal_obeys() -> None:
    assert member.shown("a\x1b[31m\u202e" + "x" * 500).isprintable()
    assert len(member.shown("x" * 5000)) < 120
