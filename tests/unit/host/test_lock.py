from __future__ import annotations

import fcntl
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from provision.errors import LockedError, RefusedError
from provision.host.lock import exclusive, passing, shared

HOLD = """
import sys, time
from pathlib import Path
from provision.host.lock import exclusive
with exclusive(Path(sys.argv[1]), Path(sys.argv[1] + ".holder"), "up", 0, lambda who: None):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    return tmp_path / "lock"


def held(lock: Path) -> subprocess.Popen[str]:
    child = subprocess.Popen([sys.executable, "-c", HOLD, str(lock)], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "held\n"
    return child


def take(lock: Path, wait_s: float = 0.0) -> list[str]:
    """Take the lock and return who was waited for."""
    waited: list[str] = []
    with exclusive(lock, Path(f"{lock}.holder"), "up", wait_s, waited.append):
        return waited


def test_who_comes_second_is_told_who_is_first(lock: Path) -> None:
    with held(lock) as child:
        try:
            with pytest.raises(LockedError, match=f"`fabric up`, process {child.pid}") as told:
                take(lock, 0.2)
            assert told.value.exit_code == 75
        finally:
            child.kill()


def test_a_holder_that_was_killed_holds_nothing(lock: Path) -> None:
    with held(lock) as child:
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
    assert take(lock) == []


def test_waiting_ends_when_the_holder_does(lock: Path) -> None:
    with held(lock) as child:
        subprocess.Popen(["/bin/sh", "-c", f"sleep 0.5; kill -9 {child.pid}"]).wait()
        assert take(lock, 10) in ([], [f"`fabric up`, process {child.pid}"])


def test_it_says_once_for_whom_it_waits(lock: Path) -> None:
    with held(lock) as child:
        try:
            waited: list[str] = []
            with pytest.raises(LockedError), exclusive(lock, Path(f"{lock}.holder"), "up", 0.4, waited.append):
                pass
            assert waited == [f"`fabric up`, process {child.pid}"]
        finally:
            child.kill()


def test_a_program_started_meanwhile_does_not_inherit_the_lock(lock: Path) -> None:
    with exclusive(lock, Path(f"{lock}.holder"), "up", 0, lambda _: None):
        child = subprocess.Popen(["/bin/sleep", "30"], close_fds=False)
    try:
        take(lock, 5)  # between vfork and exec the kernel still counts the child as a holder
        assert child.poll() is None
    finally:
        child.kill()
        child.wait()


def test_a_lock_file_that_was_removed_and_made_anew_is_not_held_twice(lock: Path) -> None:
    with exclusive(lock, Path(f"{lock}.holder"), "destroy", 0, lambda _: None):
        lock.unlink()
        with exclusive(lock, Path(f"{lock}.holder"), "up", 0, lambda _: None), pytest.raises(LockedError):
            take(lock)


def staying(lock: Path) -> AbstractContextManager[None]:
    return exclusive(lock, Path(f"{lock}.holder"), "up", 60, lambda _: None)


def going(lock: Path) -> AbstractContextManager[None]:
    return passing(lock, lambda: None)


def _count(hold: Callable[[Path], AbstractContextManager[None]], lock: str, path: str, rounds: int) -> None:
    for _ in range(rounds):
        with hold(Path(lock)):
            number = int(Path(path).read_text(encoding="ascii"))
            time.sleep(0.001)
            Path(path).write_text(str(number + 1), encoding="ascii")


@pytest.mark.parametrize("hold", [staying, going])
def test_no_two_are_ever_inside(hold: Callable[[Path], AbstractContextManager[None]], tmp_path: Path) -> None:
    lock = tmp_path / "locks" / "lock"
    counter = tmp_path / "counter"
    counter.write_text("0", encoding="ascii")
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_count, args=(hold, str(lock), str(counter), 5)) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    assert counter.read_text(encoding="ascii") == "15"
    assert lock.parent.exists() is (hold is staying)


def test_of_a_passing_lock_nothing_is_left(tmp_path: Path) -> None:
    place = tmp_path / "runtime" / "fabric"
    with passing(place / "one", pytest.fail):
        assert place.stat().st_mode & 0o777 == 0o700
        with passing(place / "two", pytest.fail):
            assert len(list(place.iterdir())) == 2
        assert [path.name for path in place.iterdir()] == ["one"]
    assert not place.exists()


@pytest.mark.parametrize("moment", ["it was made", "it was found"])
def test_a_directory_that_the_last_holder_has_just_removed_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    place, mkdir = tmp_path / "fabric", Path.mkdir
    removed: list[Path] = []

    def disturbed(path: Path, *how: Any, **more: Any) -> None:
        mkdir(path, *how, **more)
        if path == place and not removed:
            removed.append(path)
            path.rmdir()
            if moment == "it was found":
                raise FileExistsError

    monkeypatch.setattr(Path, "mkdir", disturbed)
    with passing(place / "one", pytest.fail):
        assert removed == [place]
    assert not place.exists()


def test_many_who_pass_at_once_do_not_disturb_each_other(tmp_path: Path) -> None:
    inside: list[int] = []

    def pass_often(number: int) -> None:
        for _ in range(40):
            with passing(tmp_path / "fabric" / f"{number % 4}", lambda: None):
                inside.append(number)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(pass_often, range(8)))
    assert len(inside) == 320
    assert list(tmp_path.iterdir()) == []


def test_who_waits_for_a_passing_lock_may_give_up(tmp_path: Path) -> None:
    lock = tmp_path / "fabric" / "lock"

    def give_up() -> None:
        raise TimeoutError

    with passing(lock, pytest.fail):
        with pytest.raises(TimeoutError), passing(lock, give_up):
            pass
        assert lock.exists(), "it is still held"


def test_a_place_of_somebody_else_s_is_refused(tmp_path: Path) -> None:
    trap = tmp_path / "trap"
    trap.symlink_to(tmp_path, target_is_directory=True)
    with pytest.raises(RefusedError, match="not a directory of this user's own"), passing(trap / "lock", pytest.fail):
        pass
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    if os.geteuid() == 0:
        os.chown(theirs, 12345, 12345)
        with pytest.raises(RefusedError), passing(theirs / "lock", pytest.fail):
            pass
    assert list(theirs.iterdir()) == []


def test_the_file_is_for_this_user_only_and_is_no_link(lock: Path, tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        take(lock)
    finally:
        os.umask(before)
    assert lock.stat().st_mode & 0o777 == 0o600
    trap = tmp_path / "trap"
    trap.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Exception, match="taking the lock"):
        take(trap)
    assert not (tmp_path / "elsewhere").exists()


def look(lock: Path, wait_s: float = 0.0) -> AbstractContextManager[None]:
    """Hold the lock together with others who look."""
    waited: list[str] = []
    return shared(lock, Path(f"{lock}.holder"), "verify", wait_s, waited.append)


def test_many_look_at_once_and_nobody_changes_anything_meanwhile(lock: Path) -> None:
    take(lock)
    with look(lock), look(lock):
        with pytest.raises(LockedError, match=f"`fabric verify`, process {os.getpid()}"):
            take(lock)
        assert Path(f"{lock}.holder").exists()
    assert not Path(f"{lock}.holder").exists()
    assert take(lock) == []


def test_who_looks_holds_a_lock_that_still_has_its_name(lock: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    take(lock)
    flock = fcntl.flock

    def after_a_destroy(handle: int, how: int) -> None:
        flock(handle, how)
        if how & fcntl.LOCK_SH:
            monkeypatch.undo()
            lock.rename(lock.with_name("removed"))
            lock.touch()

    monkeypatch.setattr(fcntl, "flock", after_a_destroy)
    with look(lock, wait_s=5.0), pytest.raises(LockedError):
        take(lock)


def test_who_wants_to_look_waits_for_who_changes(lock: Path) -> None:
    with held(lock) as child:
        try:
            with pytest.raises(LockedError, match=f"process {child.pid}"), look(lock):
                pass
        finally:
            child.kill()


def test_looking_makes_no_lock(lock: Path) -> None:
    with look(lock):
        assert not lock.exists()
    assert [*lock.parent.iterdir()] == []
