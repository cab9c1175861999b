from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from pytest_mock import MockerFixture  # noqa: TC002 - fixtures are found by it

from provision.errors import CannotCreateError, FabricError
from provision.host import files


@pytest.fixture(params=[0o000, 0o022, 0o777], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


@pytest.mark.parametrize("mode", [0o600, 0o644, 0o400])
def test_a_committed_file_has_its_mode_whatever_the_umask(tmp_path: Path, umask: int, mode: int) -> None:
    path = tmp_path / "file"
    files.commit(path, b"one", mode)
    files.commit(path, b"two", mode)
    assert path.read_bytes() == b"two"
    assert path.stat().st_mode & 0o777 == mode
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_a_private_directory_is_private_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    files.make_private_dir(tmp_path / "made")
    assert (tmp_path / "made").stat().st_mode & 0o777 == 0o700


def test_a_directory_that_was_open_becomes_private(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o755)
    files.make_private_dir(tmp_path / "open")
    assert (tmp_path / "open").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("where", ["os.fsync", "os.replace", "os.open"])
def test_a_failure_in_the_middle_leaves_the_old_file_alone(tmp_path: Path, mocker: MockerFixture, where: str) -> None:
    path = tmp_path / "file"
    files.commit(path, b"old")
    mocker.patch(where, side_effect=OSError(errno.ENOSPC, "No space left on device"))
    with pytest.raises(OSError, match="No space"):
        files.commit(path, b"new")
    mocker.stopall()
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_the_content_is_on_the_disk_before_the_name(tmp_path: Path, mocker: MockerFixture) -> None:
    calls = mocker.Mock()
    calls.attach_mock(mocker.patch("os.fsync", side_effect=os.fsync), "fsync")
    calls.attach_mock(mocker.patch("os.replace", side_effect=os.replace), "replace")
    files.commit(tmp_path / "file", b"x")
    assert [call[0] for call in calls.mock_calls] == ["fsync", "replace", "fsync"]


def test_a_link_in_the_place_of_the_staged_file_is_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    (tmp_path / f".file.tmp-{os.getpid()}").symlink_to(victim)
    files.commit(tmp_path / "file", b"new")
    assert victim.read_bytes() == b"precious"
    assert not (tmp_path / "file").is_symlink()


def test_a_tree_is_renamed_whole(tmp_path: Path) -> None:
    staged = tmp_path / "staged" / "engine"
    (staged / "bin").mkdir(parents=True)
    (staged / "bin" / "tool").write_bytes(b"x")
    (staged / "dangling").symlink_to("nowhere")
    (tmp_path / "store").mkdir()
    files.commit_tree(staged, tmp_path / "store" / "final")
    assert (tmp_path / "store" / "final" / "bin" / "tool").read_bytes() == b"x"
    assert not staged.exists()


def test_a_link_is_moved_in_one_step(tmp_path: Path) -> None:
    link = tmp_path / "current"
    for target in ("gen/1", "gen/2"):
        files.point(link, target)
        assert str(link.readlink()) == target
    assert len(list(tmp_path.iterdir())) == 1


def test_what_is_read_only_can_be_removed_and_what_a_link_points_to_stays(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "photo").write_bytes(b"x")
    tree = tmp_path / "tree"
    (tree / "locked").mkdir(parents=True)
    (tree / "locked" / "file").write_bytes(b"x")
    (tree / "link").symlink_to(outside)
    (tree / "locked").chmod(0o500)
    files.remove_tree(tree)
    assert not tree.exists()
    assert (outside / "photo").exists()
    files.remove_tree(tree)


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.ENOSPC, CannotCreateError),
        (errno.EDQUOT, CannotCreateError),
        (errno.EACCES, CannotCreateError),
        (errno.EROFS, CannotCreateError),
        (errno.EIO, FabricError),
    ],
)
def test_a_failed_write_says_what_was_being_done(number: int, kind: type[FabricError]) -> None:
    with pytest.raises(kind, match="writing the state") as told, files.explained("writing the state"):
        raise OSError(number, os.strerror(number), "/some/where")
    assert "/some/where" in told.value.message
    assert type(told.value) is kind


def test_appending_keeps_what_is_there(tmp_path: Path) -> None:
    for line in (b"one\n", b"two\n"):
        files.append_synced(tmp_path / "journal", line)
    assert (tmp_path / "journal").read_bytes() == b"one\ntwo\n"
    assert (tmp_path / "journal").stat().st_mode & 0o777 == 0o600


def test_what_a_disk_takes_in_parts_arrives_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda handle, data: write(handle, data[:3]))
    files.append_synced(tmp_path / "journal", b"a whole line\n")
    assert (tmp_path / "journal").read_bytes() == b"a whole line\n"


def test_a_second_name_is_a_link_where_that_can_be_and_replaces_what_was_there(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(b"one")
    target.write_bytes(b"old")
    assert files.link_or_copy(source, target)
    assert target.samefile(source)
    assert files.link_or_copy(source, target)
    assert {path.name for path in tmp_path.iterdir()} == {"source", "target"}


def test_a_link_to_the_source_is_followed(tmp_path: Path) -> None:
    source, link, target = tmp_path / "source", tmp_path / "link", tmp_path / "target"
    source.write_bytes(b"one")
    link.symlink_to(source)
    assert files.link_or_copy(link, target)
    assert not target.is_symlink()
    assert target.samefile(source)


@pytest.mark.parametrize("number", [errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP])
def test_where_there_can_be_no_link_it_is_a_copy(
    tmp_path: Path, umask: int, mocker: MockerFixture, number: int
) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(b"one")
    mocker.patch("os.link", side_effect=OSError(number, "no"))
    assert not files.link_or_copy(source, target, 0o640)
    assert (target.read_bytes(), target.stat().st_mode & 0o777) == (b"one", 0o640)


def test_a_full_disk_leaves_no_half_of_a_copy(tmp_path: Path, mocker: MockerFixture) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(b"one")
    mocker.patch("os.link", side_effect=OSError(errno.EXDEV, "no"))
    mocker.patch("provision.host.files.sync", side_effect=OSError(errno.ENOSPC, "full"))
    with pytest.raises(OSError, match="full"):
        files.link_or_copy(source, target)
    assert [path.name for path in tmp_path.iterdir()] == ["source"]
