from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from provision.errors import CannotCreateError
from provision.host.capture_files import write

FILES = {"platform.json": b'{"system": "Linux", "machine": "x"}', "root/etc/a": b"x", "root/b/.gitkeep": b""}


def test_it_is_written_into_a_new_or_an_empty_directory_for_this_user_only(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for name in ("new", "empty"):
        write(FILES, tmp_path / name)
        written = {str(p.relative_to(tmp_path / name)): p for p in (tmp_path / name).rglob("*") if p.is_file()}
        assert {path: place.read_bytes() for path, place in written.items()} == FILES
        assert {place.stat().st_mode & 0o777 for place in written.values()} == {0o600}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "new"]


@pytest.mark.parametrize("kind", ["not empty", "a file", "a dangling link", "no parent", "below a file"])
def test_a_place_that_will_not_do_is_refused(tmp_path: Path, kind: str) -> None:
    place = tmp_path / "place"
    if kind == "not empty":
        (place / "mine").mkdir(parents=True)
    elif kind == "a file":
        place.write_text("mine")
    elif kind == "a dangling link":
        place.symlink_to("nowhere")
    else:
        place = place / "below"
        if kind == "below a file":
            place.parent.write_text("mine")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(CannotCreateError) as caught:
        write(FILES, place)
    assert str(place.parent) in caught.value.message
    assert "--home" not in (caught.value.hint or "")
    assert sorted(tmp_path.rglob("*")) == before


@pytest.fixture(params=["new", "empty"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    if request.param == "empty":
        (tmp_path / "place").mkdir()
    yield tmp_path / "place"
    left = [path for path in tmp_path.rglob("*") if path != tmp_path / "place"]
    assert left == [], "nothing half-written"


def fail(monkeypatch: pytest.MonkeyPatch, function: str, number: int, after: int) -> None:
    """Make ``os.rename``, or ``os.open`` for a new file, fail when it was called ``after`` times."""
    real, calls = getattr(os, function), 0

    def failing(*args: Any, **options: Any) -> Any:
        nonlocal calls
        if function == "rename" or args[1] & os.O_CREAT:
            calls += 1
            if calls > after:
                raise OSError(number, os.strerror(number), str(args[0]))
        return real(*args, **options)

    monkeypatch.setattr(os, function, failing)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EIO, errno.EFBIG])
@pytest.mark.parametrize(("function", "after"), [("open", 0), ("open", 2), ("rename", 0)])
def test_a_disk_that_fails_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch, place: Path, function: str, after: int, number: int
) -> None:
    fail(monkeypatch, function, number, after)
    with pytest.raises(CannotCreateError, match=str(place)):
        write(FILES, place)


def test_half_of_a_capture_is_taken_back(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fail(monkeypatch, "rename", errno.EIO, 1)
    with pytest.raises(CannotCreateError):
        write(FILES, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_an_interruption_leaves_nothing(monkeypatch: pytest.MonkeyPatch, place: Path) -> None:
    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "rename", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write(FILES, place)
