from __future__ import annotations

import fcntl
import hashlib
import os
import threading
import time
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest

from provision.errors import InterruptedByUserError, LockedError
from provision.host import part as part_module
from provision.host.part import KEPT_S, Source, drop_old, opened

SOURCE = Source("https://example.org/f", '"tag"', 6)


def go_on() -> None:
    """Nobody stops it."""


def stopped() -> None:
    raise InterruptedByUserError("Stopped.")


def test_a_part_is_continued_by_the_next_who_opens_it(tmp_path: Path) -> None:
    with opened(tmp_path, "k", go_on) as part:
        part.begin(SOURCE)
        part.write(b"abc")
    with opened(tmp_path, "k", go_on) as part:
        assert (part.size_bytes, part.source) == (3, SOURCE)
        part.write(b"def")
        assert part.sha256() == hashlib.sha256(b"abcdef").hexdigest()
        part.place(tmp_path / "new" / "f")
    assert (tmp_path / "new" / "f").read_bytes() == b"abcdef"
    assert [path.name for path in tmp_path.iterdir()] == ["new"]


def test_what_is_set_aside_takes_the_place_of_what_was(tmp_path: Path) -> None:
    with opened(tmp_path, "k", go_on) as part:
        for content in (b"first", b"second"):
            part.write(content)
            assert part.reject() == tmp_path / "k.rejected"
            assert (part.size_bytes, part.source, part.sha256()) == (0, None, hashlib.sha256().hexdigest())
    assert (tmp_path / "k.rejected").read_bytes() == b"second"
    assert [path.name for path in tmp_path.iterdir()] == ["k.rejected"]


def test_being_stopped_while_the_bytes_are_set_aside_closes_the_part_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody takes the name of the part in the moment that it is free."""
    before, replace, theirs = psutil.Process().num_fds(), os.replace, ExitStack()

    def taken_at_once(source: Path, target: Path) -> None:
        replace(source, target)
        fcntl.flock(theirs.enter_context(source.open("wb")), fcntl.LOCK_EX)

    monkeypatch.setattr(os, "replace", taken_at_once)
    with theirs, opened(tmp_path, "k", stopped) as part:
        part.write(b"abc")
        with pytest.raises(InterruptedByUserError):
            part.reject()
    assert psutil.Process().num_fds() == before
    assert (tmp_path / "k.rejected").read_bytes() == b"abc"


def test_beginning_anew_forgets_the_bytes(tmp_path: Path) -> None:
    with opened(tmp_path, "k", go_on) as part:
        part.write(b"old")
        part.begin(SOURCE)
        part.write(b"new!")
        assert part.sha256() == hashlib.sha256(b"new!").hexdigest()
    assert (tmp_path / "k.part").read_bytes() == b"new!"


def test_two_never_write_to_one_part(tmp_path: Path) -> None:
    entered = threading.Event()
    order: list[str] = []

    def second() -> None:
        entered.set()
        with opened(tmp_path, "k", go_on) as part:
            order.append(f"second finds {part.size_bytes}")

    with opened(tmp_path, "k", go_on) as part:
        thread = threading.Thread(target=second)
        thread.start()
        entered.wait(5)
        time.sleep(0.2)
        part.write(b"abc")
        order.append("first is done")
    thread.join(5)
    assert order == ["first is done", "second finds 3"]


def test_who_waits_for_a_part_that_was_finished_begins_a_new_one(tmp_path: Path) -> None:
    found: list[int] = []

    def second() -> None:
        with opened(tmp_path, "k", go_on) as part:
            found.append(part.size_bytes)
            part.write(b"mine")

    with opened(tmp_path, "k", go_on) as part:
        part.write(b"abc")
        thread = threading.Thread(target=second)
        thread.start()
        time.sleep(0.2)
        part.place(tmp_path / "f")
    thread.join(5)
    assert found == [0]
    assert (tmp_path / "f").read_bytes() == b"abc"


def test_waiting_for_a_part_can_be_stopped_and_has_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(tmp_path, "k", go_on):
        with pytest.raises(InterruptedByUserError), opened(tmp_path, "k", stopped):
            pass
        monkeypatch.setattr(part_module, "LOCK_WAIT_S", 0.1)
        with pytest.raises(LockedError), opened(tmp_path, "k", go_on):
            pass


def test_reading_again_what_is_there_can_be_stopped(tmp_path: Path) -> None:
    (tmp_path / "k.part").write_bytes(b"abc")
    with opened(tmp_path, "k", stopped) as part, pytest.raises(InterruptedByUserError):
        part.sha256()


def test_a_link_in_place_of_a_part_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "precious").write_bytes(b"precious")
    (tmp_path / "k.part").symlink_to("precious")
    with pytest.raises(Exception, match="opening a part"), opened(tmp_path, "k", go_on):
        pass
    assert (tmp_path / "precious").read_bytes() == b"precious"


def test_only_what_nobody_has_touched_for_two_weeks_is_dropped(tmp_path: Path) -> None:
    now_s = time.time()
    for name, age_s in (("old.part", KEPT_S + 60), ("old.part.json", KEPT_S + 60), ("old.rejected", KEPT_S + 60),
                        ("new.part", 60), ("held.part", KEPT_S + 60)):  # fmt: skip
        (tmp_path / name).write_bytes(b"x")
        os.utime(tmp_path / name, (now_s - age_s, now_s - age_s))
    with opened(tmp_path, "held", go_on):
        drop_old(tmp_path, now_s)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["held.part", "new.part"]


def test_dropping_where_there_is_nothing_is_fine(tmp_path: Path) -> None:
    drop_old(tmp_path / "absent", 0.0)
