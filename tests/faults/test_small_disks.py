"""A disk on which there is no room, no inode, nothing to be written or nothing to be executed."""

from __future__ import annotations

import os
import resource
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.test_interrupted import engine_wheel
from tests.faults.mounts import Inside, inside
from tests.faults.oracle import WISH, Oracle, assert_unlocked, assert_whole, temporary
from tests.standin.command import Fabric, eventually
from tests.standin.index_server import Fault, IndexServer

CHANGED = ("up", *WISH, "--context", "600")
Disk = Callable[[str], Inside]


@pytest.fixture
def disk(quick: Fabric, tmp_path: Path) -> Iterator[Disk]:
    """Gives the command a prefix on a small disk with these options."""
    place = tmp_path / "disk"
    place.mkdir()
    quick = replace(quick, prefix=place / "prefix")
    with ExitStack() as mounts:
        yield lambda options: mounts.enter_context(inside(quick, f'mount -t tmpfs -o {options} none "$PWD"', place))
    for process in quick.processes():  # of a test that failed
        process.kill()


def fill(small: Inside) -> Path:
    """Leave no byte on the disk."""
    path = small.prefix.parent / "somebody-elses"
    with path.open("wb") as file:
        while (free := os.statvfs(path.parent)).f_bavail:
            with suppress(OSError):  # somebody was faster with the last of it
                os.posix_fallocate(file.fileno(), path.stat().st_size, free.f_bavail * free.f_frsize)
    return path


def still_serves(small: Inside, up: Any) -> None:
    status = small.fabric.succeed("status")
    assert (status["state"], status["pid"]) == ("ready", up["pid"])
    assert small.fabric.succeed("plan", *WISH[1:])["summary"]["none"] == 4
    assert_whole(small.prefix)
    assert_unlocked(small.prefix)


def heals(small: Inside, oracle: Oracle) -> None:
    """Check what can be checked from here of a prefix on a disk of its own."""
    small.fabric.succeed("up", *WISH)
    assert small.fabric.succeed("plan", *WISH[1:])["summary"]["none"] == 4
    assert not temporary(small.prefix)
    small.fabric.succeed("destroy", "--yes")
    assert not small.prefix.exists()
    oracle.nothing_left(small.fabric)


@pytest.mark.fault("disk-full")
def test_a_disk_that_fills_during_the_download(disk: Disk, oracle: Oracle, standin_index: IndexServer) -> None:
    small = disk("size=300m")
    name = engine_wheel(standin_index)
    standin_index.faults[name] = Fault(stall_after=10, times=1)
    running = small.fabric.start("up", *WISH)
    assert eventually(lambda: standin_index.requests_for(name))
    somebody_elses = fill(small)
    standin_index.released.set()
    oracle.met(running.finish(), 73, ["No space left", "Free some space"])
    assert_unlocked(small.prefix)
    somebody_elses.unlink()
    heals(small, oracle)


@pytest.mark.faults
@pytest.mark.fault("disk-full")
def test_a_full_disk_changes_nothing_of_what_serves(disk: Disk, oracle: Oracle) -> None:
    small = disk("size=300m")
    up = small.fabric.succeed("up", *WISH)
    somebody_elses = fill(small)
    oracle.met(small.fabric(*CHANGED), 73, ["No space left", "Free some space"])
    still_serves(small, up)
    somebody_elses.unlink()
    heals(small, oracle)


@pytest.mark.faults
@pytest.mark.fault("inodes-exhausted")
@pytest.mark.parametrize("count", [6, 20, 40])
def test_a_disk_without_inodes(disk: Disk, oracle: Oracle, count: int) -> None:
    small = disk(f"size=300m,nr_inodes={count}")
    oracle.met(small.fabric("up", *WISH), 73, ["inode"])
    assert small.fabric("destroy", "--yes").returncode == 0
    assert not small.prefix.exists()


@pytest.mark.faults
@pytest.mark.fault("inodes-exhausted")
def test_no_inode_left_changes_nothing_of_what_serves(disk: Disk, oracle: Oracle) -> None:
    small = disk("size=300m,nr_inodes=1000")
    up = small.fabric.succeed("up", *WISH)
    others = small.prefix.parent / "others"
    others.mkdir()
    for number in range(os.statvfs(small.prefix).f_favail):
        (others / str(number)).touch()
    oracle.met(small.fabric(*CHANGED), 73, ["inode"])
    still_serves(small, up)
    for other in others.iterdir():
        other.unlink()
    others.rmdir()
    heals(small, oracle)


@pytest.mark.faults
@pytest.mark.fault("prefix-read-only")
def test_a_prefix_that_becomes_read_only_is_told_and_goes_on_serving(disk: Disk, oracle: Oracle) -> None:
    small = disk("size=300m")
    up = small.fabric.succeed("up", *WISH)
    place = str(small.fabric.prefix.parent)
    small.mount("--bind", place, place)
    small.mount("-o", "remount,bind,ro", place)
    for words in (CHANGED, ("down",), ("destroy", "--yes")):
        oracle.met(small.fabric(*words), 73, ["Read-only file system"])
    still_serves(small, up)
    small.mount("-o", "remount,bind,rw", place)
    heals(small, oracle)


@pytest.mark.fault("prefix-noexec")
def test_a_prefix_in_which_nothing_may_be_executed_is_told_before_anything_is_fetched(
    disk: Disk, oracle: Oracle, standin_index: IndexServer
) -> None:
    small = disk("size=300m,noexec")
    oracle.met(small.fabric("up", *WISH), 73, ["noexec", "--home"])
    assert not standin_index.requests_for(engine_wheel(standin_index))
    assert small.fabric("destroy", "--yes").returncode == 0
    assert not small.prefix.exists()


@pytest.mark.faults
@pytest.mark.fault("file-size-limit")
@pytest.mark.parametrize("limit", [64, 1000, 20_000])
def test_no_file_may_grow_larger_than_the_limit_of_the_shell(quick: Fabric, oracle: Oracle, limit: int) -> None:
    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    oracle.survived(quick, quick("up", *WISH, preexec_fn=limited))
    oracle.survived(quick, quick(*CHANGED, preexec_fn=limited))
    oracle.nothing_left(quick)
