"""One lock, many machines: the same bytes everywhere, nothing looked up, also without a network."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tests.e2e.conftest import RUNNER
from tests.standin.command import NOBODY, Fabric, Outcome
from tests.standin.index_server import Fault, IndexServer

WISH = ("--model", "smollm2-135m", "--port", "0")
UP = ("up", "--no-smoke", *WISH)


def lock_of(fabric: Fabric) -> Path:
    return fabric.home / "fabric.lock"


@pytest.fixture
def locked(quick: Fabric) -> Fabric:
    quick.succeed("lock", *WISH)
    return quick


@pytest.fixture
def other(quick: Fabric, tmp_path: Path) -> Iterator[Fabric]:
    """A second host: another home, another prefix, other directories above it."""
    home = tmp_path / "elsewhere" / "the other's home"
    home.mkdir(parents=True)
    command = replace(quick, prefix=tmp_path / "deep" / "er" / "prefix", home=home)
    yield command
    command.cleanup()


def pages(index: IndexServer) -> list[str]:
    return [seen.path for seen in index.seen if not seen.path.startswith("/files/") or seen.path.endswith(".metadata")]


def test_lock_pins_and_says_what_changed_and_the_same_again_changes_no_byte(quick: Fabric) -> None:
    first = quick.succeed("lock", *WISH)
    assert first["schema"] == "fabric.lock/v1"
    assert first["path"] == str(lock_of(quick))
    (name,) = first["platforms"]
    assert name.startswith("linux-")
    assert first["changes"] == [{"action": "create", "platform": name}]
    text = lock_of(quick).read_bytes()
    again = quick.succeed("lock", *WISH)
    assert again["changed"] is False
    assert again["changes"] == [{"action": "none", "platform": name}]
    assert lock_of(quick).read_bytes() == text
    assert quick.succeed("lock", "--check", *WISH)["platforms"] == first["platforms"]


def test_up_locked_asks_for_files_only(locked: Fabric, standin_index: IndexServer) -> None:
    standin_index.seen.clear()
    assert locked.succeed(*UP, "--locked")["changed"] is True
    assert pages(standin_index) == []
    assert standin_index.seen, "the files themselves were fetched"
    assert locked.succeed(*UP, "--locked")["changed"] is False


def test_a_lock_beside_the_spec_is_used_without_being_asked_for(locked: Fabric, standin_index: IndexServer) -> None:
    standin_index.seen.clear()
    locked.succeed(*UP)
    assert pages(standin_index) == []


def test_a_lock_of_another_wish_is_told_and_ignored(locked: Fabric) -> None:
    outcome = locked(*UP, "--context", "512")
    assert outcome.returncode == 0, outcome.said
    assert outcome.stderr.count("fabric.lock was made for") == 1
    assert "--model smollm2-135m" in outcome.stderr


def tree(prefix: Path) -> dict[str, tuple[object, ...]]:
    """Every path of the store with its mode, link target and content."""
    found: dict[str, tuple[object, ...]] = {}
    for top in ("engines", "models"):
        for directory, directories, names in os.walk(prefix / top):
            for name in (*directories, *names):
                path = Path(directory, name)
                status = path.lstat()
                told: object = None
                if path.is_symlink():
                    told = str(path.readlink())
                elif stat.S_ISREG(status.st_mode):
                    told = hashlib.sha256(path.read_bytes()).hexdigest()
                found[str(path.relative_to(prefix))] = (oct(status.st_mode), told)
    return found


def test_two_hosts_with_one_lock_end_with_identical_stores(locked: Fabric, other: Fabric) -> None:
    shutil.copy(lock_of(locked), lock_of(other))
    locked.succeed(*UP, "--locked")
    other.succeed(*UP, "--locked", preexec_fn=lambda: os.umask(0o077))
    mine, theirs = tree(locked.prefix), tree(other.prefix)
    assert mine == theirs
    assert mine
    outside = [path for path, (_, told) in mine.items() if isinstance(told, str) and told.startswith("/")]
    assert [Path(path).name for path in outside] == ["python"], "only the interpreter is the host's"
