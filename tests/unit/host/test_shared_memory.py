"""Shared memory: who uses it, and that only what nobody uses is removed."""

from __future__ import annotations

import mmap
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from provision.domain.server import SharedFile
from provision.host import shared_memory

PLACE = Path("/dev/shm")  # noqa: S108 - what is about
pytestmark = pytest.mark.skipif(not PLACE.is_dir(), reason="there is no /dev/shm here")


@pytest.fixture
def memory() -> Iterator[Path]:
    path = PLACE / f"psm_{uuid.uuid4().hex[:8]}"
    path.write_bytes(b"x" * 4096)
    yield path
    path.unlink(missing_ok=True)


def described(path: Path) -> SharedFile:
    return SharedFile(path.name, path.stat().st_ino)


@pytest.mark.parametrize("how", ["mapped", "open"])
def test_what_a_process_has_mapped_or_open_is_its_own_and_stays(memory: Path, how: str) -> None:
    file = described(memory)
    assert file in shared_memory.listed()
    assert file not in shared_memory.used_by([os.getpid()])
    with memory.open("r+b") as opened, mmap.mmap(opened.fileno(), 0):
        if how == "mapped":
            opened.close()
        assert file in shared_memory.used_by([os.getpid()])
        shared_memory.sweep([file])
        assert memory.exists()
    shared_memory.sweep([file])
    assert not memory.exists()


def test_what_another_process_has_mapped_stays(memory: Path) -> None:
    mapped = "f = open(sys.argv[1], 'r+b'); m = mmap.mmap(f.fileno(), 0)"
    code = f"import mmap, sys; {mapped}; print('it is', flush=True); input()"
    command = [sys.executable, "-c", code, str(memory)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as user:
        assert user.stdout is not None
        assert user.stdout.readline() == "it is\n"
        shared_memory.sweep([described(memory)])
        assert memory.exists()
        user.kill()


def test_one_of_the_same_name_that_was_made_anew_stays(memory: Path) -> None:
    file = described(memory)
    shared_memory.sweep([replace(file, inode=file.inode + 1)])
    assert memory.exists()


def test_a_directory_and_a_link_stay(memory: Path) -> None:
    link = memory.with_name(f"{memory.name}_link")
    link.symlink_to(memory)
    try:
        shared_memory.sweep([SharedFile(link.name, link.lstat().st_ino)])
        assert link.is_symlink()
    finally:
        link.unlink()
