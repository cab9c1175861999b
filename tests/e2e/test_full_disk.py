"""Disks that are full, or become full, or may not be written: told in words, and nothing is left of what was begun."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.test_bad_input import CANNOT_CREATE, refused
from tests.e2e.test_llamacpp_sources import ARCHIVE, GLIBC, OLDEST_GLIBC, UP, address
from tests.standin.command import Fabric
from tests.standin.hub_server import HubServer
from tests.standin.index_server import IndexServer
from tests.standin.llama_release import REPOSITORY, TAG, asset, pack, script, tree

MIB = 1 << 20


@dataclass(frozen=True)
class SmallDisk:
    """``fabric`` has its prefix on the disk, which lies at ``place`` for everybody else."""

    fabric: Fabric
    place: Path

    @property
    def prefix(self) -> Path:
        """The prefix, as it is seen from here."""
        return self.place / self.fabric.prefix.name


Mount = Callable[[str], SmallDisk]


@pytest.fixture
def mount(quick: Fabric, tmp_path: Path) -> Iterator[Mount]:
    """Mounts a small file system with these options, in a mount namespace that commands join; needs root."""
    if os.geteuid() != 0 or not (shutil.which("unshare") and shutil.which("nsenter")):
        pytest.skip("needs root, unshare and nsenter, to mount a small file system")
    point = tmp_path / "disk"
    point.mkdir()
    with ExitStack() as mounts:
        yield lambda options: _mounted(quick, point, options, mounts)


def _mounted(quick: Fabric, point: Path, options: str, mounts: ExitStack) -> SmallDisk:
    words = f'mount -t tmpfs -o {options} none "$0" && echo mounted && read _'
    holder = mounts.enter_context(
        subprocess.Popen(
            ["unshare", "-m", "sh", "-c", words, str(point)],  # noqa: S607 - found on PATH above
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
    )
    assert holder.stdout is not None
    said = holder.stdout.readline().strip()
    if said != "mounted":
        pytest.skip(f"cannot mount a small file system here: {said}")
    join = ("nsenter", f"--mount=/proc/{holder.pid}/ns/mnt", f"--wd={quick.home}")
    fabric = Fabric(point / "prefix", quick.home, quick.index_url, (*join, *quick.program), quick.variables)
    return SmallDisk(fabric, Path(f"/proc/{holder.pid}/root") / point.relative_to("/"))


@pytest.mark.fault("prefix-read-only")
def test_a_read_only_file_system_is_told(mount: Mount, standin_index: IndexServer) -> None:
    disk = mount("ro")
    error = refused(disk.fabric("up", "--json"), CANNOT_CREATE)
    assert str(disk.fabric.prefix.parent) in error["message"]
    assert standin_index.seen == []


@pytest.mark.fault("disk-full")
def test_a_disk_that_is_too_small_is_told_before_the_first_byte(mount: Mount, standin_index: IndexServer) -> None:
    error = refused(mount("size=20m").fabric("up", "--json"), CANNOT_CREATE)
    assert "Nothing was fetched" in error["message"]
    assert standin_index.seen == []


@pytest.mark.fault("disk-full")
@pytest.mark.skipif(GLIBC < OLDEST_GLIBC, reason=f"the releases need glibc {OLDEST_GLIBC}")
def test_a_disk_that_fills_while_unpacking_is_told_and_nothing_is_left(
    mount: Mount, llamacpp: Fabric, releases: HubServer
) -> None:
    """There is room for what is fetched, and not for what it unpacks to."""
    disk = mount("size=250m")
    large = {"library": os.urandom(MIB), **dict.fromkeys(("zeros1", "zeros2", "zeros3"), bytes(60 * MIB))}
    releases.add_release(REPOSITORY, TAG, {asset(): pack({**tree(script()), **large})})
    somebody_elses = disk.place / "somebody-elses"
    with somebody_elses.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, 90 * MIB)
    error = refused(disk.fabric(*UP, *ARCHIVE, "--json"), CANNOT_CREATE)
    assert f"No space left while unpacking {asset()}" in error["message"]
    assert "Free some space" in error["hint"]
    assert len(releases.requests(address())) == 1, "fetched, and only then the disk was full"
    assert not (disk.prefix / "staging").exists()
    assert not list((disk.prefix / "engines").glob("*"))
    assert disk.fabric.server_pid() is None
    somebody_elses.unlink()
    assert disk.fabric.succeed(*UP, *ARCHIVE)["changed"] is True
    assert disk.fabric.succeed(*UP, *ARCHIVE)["changed"] is False
    disk.fabric.succeed("destroy", "--yes")
    assert not disk.prefix.exists()
