"""What is unpacked from a good archive, and how it can end otherwise."""

from __future__ import annotations

import errno
import gzip
import os
import resource
import signal
import stat
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from pytest_mock import MockerFixture  # noqa: TC002 - fixtures are found by it

from provision.artifacts.unpack import unpack
from provision.errors import CannotCreateError, InterruptedByUserError, InvalidInputError, RefusedError
from tests.unit.artifacts.archives import (
    PACKINGS,
    directory,
    entry,
    hard_link,
    link,
    tar,
    zip_entry,
    zipped,
    zstd,
)

LONG = os.urandom(3 << 20)
ENGINE = tar(
    directory("engine-1/"),
    entry("engine-1/server", LONG, mode=0o777),
    entry("engine-1/LICENSE", b"free", mode=0o666),
    link("engine-1/lib.so", "lib.so.1"),
    entry("engine-1/lib.so.1", b"library"),
    link("engine-1/lib/deep/up", "../../LICENSE"),
    hard_link("engine-1/server-2", "engine-1/server"),
    directory("engine-1/empty"),
)
ENGINE_ZIP = zipped(
    (zip_entry("engine-1/", stat.S_IFDIR | 0o755), b""),
    (zip_entry("engine-1/server", stat.S_IFREG | 0o777), LONG),
    (zip_entry("engine-1/LICENSE", stat.S_IFREG | 0o666), b"free"),
    (zip_entry("engine-1/lib.so", stat.S_IFLNK | 0o777), b"lib.so.1"),
    (zip_entry("engine-1/lib.so.1"), b"library"),
    (zip_entry("engine-1/lib/deep/up", stat.S_IFLNK | 0o777), b"../../LICENSE"),
    (zip_entry("engine-1/empty/", 0), b""),
)


@pytest.fixture(params=[0o000, 0o022, 0o277], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def put(tmp_path: Path, data: bytes, name: str = "engine.archive") -> Path:
    path = tmp_path / name
    path.write_bytes(data)
    return path


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def left(tmp_path: Path) -> list[str]:
    return sorted(each.name for each in tmp_path.iterdir())


@pytest.mark.parametrize("packing", [*PACKINGS, "zip"])
def test_an_archive_is_unpacked_whatever_its_name(tmp_path: Path, packing: str, umask: int) -> None:
    data = ENGINE_ZIP if packing == "zip" else PACKINGS[packing](ENGINE)
    place = tmp_path / "store" / "engine"
    (tmp_path / "store").mkdir(mode=0o700)
    (tmp_path / "store").chmod(0o700)
    counted: list[int] = []
    unpack(put(tmp_path, data), place, strip=1, progress=counted.append)
    assert (place / "server").read_bytes() == LONG
    assert (place / "lib.so").readlink() == Path("lib.so.1")
    assert (place / "lib.so").read_bytes() == b"library"
    assert (place / "lib/deep/up").read_bytes() == b"free"
    assert list((place / "empty").iterdir()) == []
    assert [mode(place / name) for name in ("server", "LICENSE", "lib", "lib/deep", "empty")] == [
        0o755, 0o644, 0o755, 0o755, 0o755,
    ]  # fmt: skip
    assert mode(place) == 0o700
    assert sum(counted) == len(data), "what is counted is packed bytes"
    if packing != "zip":
        assert (place / "server-2").samefile(place / "server")


def test_directories_are_only_stripped_when_asked(tmp_path: Path) -> None:
    unpack(put(tmp_path, ENGINE), tmp_path / "out")
    assert left(tmp_path / "out") == ["engine-1"]


def test_the_directory_itself_may_be_in_the_archive(tmp_path: Path) -> None:
    unpack(put(tmp_path, tar(directory("./"), entry("./a"), directory("./b"))), tmp_path / "out")
    assert left(tmp_path / "out") == ["a", "b"]


def test_a_zstd_archive_may_start_with_a_frame_without_content(tmp_path: Path) -> None:
    skippable = b"\x50\x2a\x4d\x18\x04\x00\x00\x00abcd"
    unpack(put(tmp_path, skippable + zstd.compress(ENGINE)), tmp_path / "out")
    assert (tmp_path / "out/engine-1/LICENSE").read_bytes() == b"free"


def test_a_name_longer_than_a_plain_header_holds_is_read(tmp_path: Path) -> None:
    name = "/".join(["d" * 100] * 4)
    for number, format_ in enumerate((tarfile.PAX_FORMAT, tarfile.GNU_FORMAT)):
        unpack(put(tmp_path, tar(entry(name, b"here"), format_=format_)), tmp_path / f"out{number}")
        assert (tmp_path / f"out{number}" / name).read_bytes() == b"here"


NO_ARCHIVES = {
    "an HTML page": b"\n<!DOCTYPE html><html><body>Please log in</body></html>",
    "an empty file": b"",
    "an xz archive": b"\xfd7zXZ\x00" + bytes(600),
    "a Linux program": b"\x7fELF" + bytes(600),
    "a JSON document": b'{"message": "Not Found"}',
    "plain text": b"Not Found",
    "something else": os.urandom(4).replace(b"\x1f", b"\0") + bytes(600),
}


@pytest.mark.parametrize(("what", "data"), NO_ARCHIVES.items(), ids=NO_ARCHIVES.keys())
def test_what_is_no_archive_is_called_what_it_is(tmp_path: Path, what: str, data: bytes) -> None:
    with pytest.raises(RefusedError, match=f"engine.archive is not an archive: {what}"):
        unpack(put(tmp_path, data), tmp_path / "out")
    assert left(tmp_path) == ["engine.archive"]


@pytest.mark.parametrize("packing", ["plain", "gzip"])
def test_a_page_instead_of_an_archive_is_blamed_on_what_is_in_between(tmp_path: Path, packing: str) -> None:
    page = NO_ARCHIVES["an HTML page"]
    with pytest.raises(RefusedError, match="an HTML page") as told:
        unpack(put(tmp_path, gzip.compress(page) if packing == "gzip" else page), tmp_path / "out")
    assert "proxy" in str(told.value.hint)
    assert "login page" in str(told.value.hint)


SMALL = tar(entry("a", b"x" * 2000), entry("b", b"y" * 512))


@pytest.mark.parametrize("packing", [*PACKINGS, "zip"])
def test_an_archive_that_is_cut_anywhere_is_refused(tmp_path: Path, packing: str) -> None:
    noise = os.urandom(700)
    two = zipped((zip_entry("a"), noise), (zip_entry("b"), b"y" * 512))
    whole = two if packing == "zip" else PACKINGS[packing](tar(entry("a", noise), entry("b", b"y" * 512)))
    end = len(whole) if packing != "tar" else 3 * 512 + 1024 + 1  # what follows is only padding
    for size in {*range(1, end, 97), end - 1, 512, 1024, 2048}:
        if size < end:
            with pytest.raises(RefusedError):
                unpack(put(tmp_path, whole[:size]), tmp_path / "out")
            assert left(tmp_path) == ["engine.archive"]


@pytest.mark.parametrize("packing", ["tar.gz", "tar.zst", "zip"])
def test_a_changed_byte_of_the_content_is_noticed(tmp_path: Path, packing: str) -> None:
    options = {int(zstd.CompressionParameter.checksum_flag): 1}
    noise = os.urandom(5000)
    data = bytearray(
        {
            "tar.gz": lambda: gzip.compress(tar(entry("a", noise)), 0),
            "tar.zst": lambda: zstd.compress(tar(entry("a", noise)), options=options),
            "zip": lambda: zipped((zip_entry("a"), noise)),
        }[packing]()
    )
    data[data.index(noise[2000:2010]) + 5] ^= 1
    with pytest.raises(RefusedError, match="is damaged"):
        unpack(put(tmp_path, bytes(data)), tmp_path / "out")
    assert left(tmp_path) == ["engine.archive"]


def test_a_damaged_header_is_not_taken_for_the_end(tmp_path: Path) -> None:
    damaged = bytearray(tar(entry("a", b"x" * 512), entry("b"), entry("c")))
    damaged[1024 + 150] ^= 1  # in the checksum of the second header
    with pytest.raises(RefusedError, match="is damaged"):
        unpack(put(tmp_path, bytes(damaged)), tmp_path / "out")
    zeroed = SMALL[: 512 + 2048] + bytes(512) + SMALL[512 + 2048 + 512 :]
    with pytest.raises(RefusedError, match="after its end"):
        unpack(put(tmp_path, zeroed), tmp_path / "out")
    assert left(tmp_path) == ["engine.archive"]


@pytest.mark.parametrize("data", [zipped(), bytes(257) + b"ustar" + bytes(762)], ids=["zip", "tar"])
def test_an_archive_without_anything_in_it_is_refused(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(RefusedError):
        unpack(put(tmp_path, data), tmp_path / "out")
    assert left(tmp_path) == ["engine.archive"]


def test_what_is_there_already_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "precious").write_bytes(b"x")
    (tmp_path / "link").symlink_to("elsewhere")
    for name in ("out", "link"):
        with pytest.raises(CannotCreateError, match=r"unpacking engine\.archive"):
            unpack(put(tmp_path, ENGINE), tmp_path / name)
    assert left(tmp_path / "out") == ["precious"]
    assert left(tmp_path) == ["engine.archive", "link", "out"]


@pytest.mark.parametrize("kind", ["missing", "directory", "pipe"])
def test_an_archive_that_cannot_be_read_is_named(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "engine.archive"
    if kind == "directory":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    with pytest.raises(InvalidInputError, match="Cannot read"):
        unpack(path, tmp_path / "out")


@pytest.mark.parametrize("after", [0, 1, 20])
def test_unpacking_stops_when_that_is_wanted_and_leaves_nothing(tmp_path: Path, after: int) -> None:
    stop, calls = threading.Event(), [0]

    def progress(_: int) -> None:
        calls[0] += 1
        if calls[0] > after:
            stop.set()

    if after == 0:
        stop.set()
    with pytest.raises(InterruptedByUserError):
        unpack(put(tmp_path, gzip.compress(ENGINE)), tmp_path / "out", progress=progress, stop=stop)
    assert left(tmp_path) == ["engine.archive"]


def test_ctrl_c_leaves_nothing(tmp_path: Path) -> None:
    calls: list[int] = []

    def progress(size: int) -> None:
        calls.append(size)
        if len(calls) == 20:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        unpack(put(tmp_path, ENGINE), tmp_path / "out", progress=progress)
    assert left(tmp_path) == ["engine.archive"]


def test_a_file_that_the_system_does_not_let_grow_leaves_nothing(tmp_path: Path) -> None:
    archive = put(tmp_path, gzip.compress(ENGINE, 0))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2 << 20, before[1]))
    try:
        with pytest.raises(CannotCreateError, match=r"No space left while unpacking engine\.archive"):
            unpack(archive, tmp_path / "out")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert left(tmp_path) == ["engine.archive"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS])
def test_a_full_disk_leaves_nothing(tmp_path: Path, mocker: MockerFixture, number: int) -> None:
    archive = put(tmp_path, ENGINE)
    mocker.patch("provision.host.new_tree.os.write", side_effect=OSError(number, os.strerror(number)))
    with pytest.raises(CannotCreateError, match="unpacking"):
        unpack(archive, tmp_path / "out")
    assert left(tmp_path) == ["engine.archive"]


def test_nothing_stays_open(tmp_path: Path) -> None:
    before = psutil.Process().num_fds()
    unpack(put(tmp_path, zstd.compress(ENGINE)), tmp_path / "out")
    unpack(put(tmp_path, ENGINE_ZIP), tmp_path / "out2")
    with pytest.raises(RefusedError):
        unpack(put(tmp_path, ENGINE[:3000]), tmp_path / "out3")
    assert psutil.Process().num_fds() == before
