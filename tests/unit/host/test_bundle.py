from __future__ import annotations

import errno
import gzip
import io
import os
import tarfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from provision.errors import CannotCreateError, InvalidInputError, RefusedError
from provision.host import bundle
from provision.host.bundle import opened, pack, unpack, write

FILES = {
    "capture/platform.json": b'{"system": "Linux", "machine": "x"}',
    "capture/root/etc/a b": b"x",
    "facts.json": b"{}",
}


def tarred(*members: tarfile.TarInfo) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz", format=tarfile.PAX_FORMAT) as archive:
        for member in members:
            archive.addfile(member, io.BytesIO(b"x" * member.size))
    return packed.getvalue()


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "", size: int = 0) -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type, made.linkname, made.size = kind, link, size
    return made


def sparse(name: str, size: int) -> tarfile.TarInfo:
    """One byte, and a hole that makes it a file of ``size`` bytes."""
    made = member(name, size=1)
    made.pax_headers = {"GNU.sparse.size": str(size), "GNU.sparse.map": "0,1"}
    return made


def test_a_bundle_holds_regular_files_without_owner_and_time_for_this_user_only(tmp_path: Path) -> None:
    assert write(FILES, tmp_path / "b.tar.gz") == (tmp_path / "b.tar.gz").stat().st_size
    assert (tmp_path / "b.tar.gz").stat().st_mode & 0o777 == 0o600
    with tarfile.open(tmp_path / "b.tar.gz") as archive:
        members = archive.getmembers()
    assert [(m.name, m.isreg(), m.uid, m.uname, m.mtime) for m in members] == [(n, True, 0, "", 0) for n in FILES]
    assert [path.name for path in tmp_path.iterdir()] == ["b.tar.gz"]


def test_it_is_unpacked_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "b").write_bytes(pack(FILES))
    unpack(tmp_path / "b", tmp_path / "out")
    assert {
        str(p.relative_to(tmp_path / "out")): p.read_bytes() for p in (tmp_path / "out").rglob("*") if p.is_file()
    } == FILES
    with opened(tmp_path / "b") as directory:
        assert (directory / "root" / "etc" / "a b").read_bytes() == b"x"
    assert not directory.exists()


def test_an_error_of_whoever_uses_it_passes(tmp_path: Path) -> None:
    (tmp_path / "b").write_bytes(pack(FILES))
    for path in (tmp_path, tmp_path / "b"):
        with pytest.raises(PermissionError), opened(path):
            raise PermissionError


@pytest.mark.parametrize("existing", ["a file", "a directory", "a dangling link"])
def test_what_exists_is_not_overwritten(tmp_path: Path, existing: str) -> None:
    place = tmp_path / "b.tar.gz"
    if existing == "a file":
        place.write_text("mine")
    elif existing == "a directory":
        place.mkdir()
    else:
        place.symlink_to(tmp_path / "nowhere")
    with pytest.raises(CannotCreateError, match="exists already"):
        write(FILES, place)
    assert not (tmp_path / "nowhere").exists()


def test_a_disk_that_is_full_leaves_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CannotCreateError, match="No space left") as caught:
        write(FILES, tmp_path / "b.tar.gz")
    assert caught.value.hint
    assert "--home" not in caught.value.hint
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(CannotCreateError, match="There is no directory"):
        write(FILES, tmp_path / "no" / "b.tar.gz")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (tarred(member("capture/../../x", size=1)), "outside"),
        (tarred(member("/etc/cron.d/x", size=1)), "outside"),
        (tarred(member("capture/x", tarfile.SYMTYPE, "/etc")), "other than files"),
        (tarred(member("capture/x", tarfile.SYMTYPE, "/etc"), member("capture/x/y", size=1)), "other than files"),
        (tarred(member("capture/x", tarfile.LNKTYPE, "../../etc/passwd")), "other than files"),
        (tarred(member("capture/x", tarfile.FIFOTYPE)), "other than files"),
        (tarred(member("capture/x", tarfile.CHRTYPE)), "other than files"),
        (tarred(sparse("capture/x", 2 * bundle.MAX_UNPACKED_BYTES)), "other than files"),
        (tarred(member("a", size=1), member("a/b", size=1)), "damaged"),
        (tarred(member("x" * 300, size=1)), "damaged"),
        (pack(FILES)[:-20], "damaged"),
        (b"\x1f\x8bnonsense", "damaged"),
        (gzip.compress(b"no tar"), "damaged"),
        (gzip.compress(bytes(1 << 20)), "platform.json"),
        (b"PK\x03\x04", "neither"),
        (b"<html>", "neither"),
        (b"", "neither"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",  # the bytes have the time in them
)
def test_an_archive_that_will_not_do_is_refused(tmp_path: Path, data: bytes, reason: str) -> None:
    from provision.facts.replayed import read_replay

    (tmp_path / "b").write_bytes(data)
    unsafe = reason in ("outside", "other than files")
    with pytest.raises(RefusedError if unsafe else InvalidInputError, match=reason) as caught:
        read_replay(tmp_path / "b")
    assert caught.value.hint
    assert [path.name for path in tmp_path.iterdir()] == ["b"]


def test_an_archive_may_not_fill_the_disk(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(gzip.compress(bytes(bundle.MAX_UNPACKED_BYTES + 1)))
    with pytest.raises(RefusedError, match="more than 64 MiB"), opened(tmp_path / "large"):
        pass
    monkeypatch.setattr(bundle, "MAX_FILES", 10)
    (tmp_path / "many").write_bytes(tarred(*(member(f"{n}") for n in range(11))))
    with pytest.raises(RefusedError, match="more than 10 files"), opened(tmp_path / "many"):
        pass


@pytest.mark.parametrize("make", [lambda _: None, os.mkfifo], ids=["missing", "a pipe"])
def test_what_is_no_file(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / "b")
    with pytest.raises(InvalidInputError) as caught, opened(tmp_path / "b"):
        pass
    assert str(tmp_path / "b") in caught.value.message


PLAIN = gzip.decompress(pack(FILES))


@settings(max_examples=200)
@given(
    st.lists(st.tuples(st.integers(0, len(PLAIN) - 1), st.integers(0, 255)), max_size=12), st.integers(0, len(PLAIN))
)
def test_a_damaged_archive_is_refused_or_read(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[int, int]], length: int
) -> None:
    damaged = bytearray(PLAIN)
    for place, value in changes:
        damaged[place] = value
    directory = tmp_path_factory.mktemp("fuzz")
    (directory / "b").write_bytes(gzip.compress(bytes(damaged[:length]), compresslevel=1))
    with suppress(InvalidInputError, RefusedError):
        unpack(directory / "b", directory / "out")
    assert {path.name for path in directory.iterdir()} <= {"b", "out"}
