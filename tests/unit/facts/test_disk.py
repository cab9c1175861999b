from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from provision.facts.disk import FileSystem, describe_mount, read_filesystem
from provision.facts.mounts import parse_mounts
from provision.host.machine import Machine

Imagine = Callable[..., Machine]

MOUNTS = parse_mounts(
    "22 1 254:1 / / rw,relatime - ext4 /dev/root rw\n"
    "30 22 0:44 / /home rw - nfs4 server:/home rw\n"
    "31 22 0:45 / /scratch rw,noexec - tmpfs tmpfs rw\n"
)
ROOT = FileSystem("ext4", noexec=False, network=False, ram_backed=False)


@pytest.mark.cases("filesystems")
def test_what_a_mount_means(case: dict[str, Any]) -> None:
    (mount,) = parse_mounts(case.pop("line") + "\n")
    assert describe_mount(mount) == FileSystem(**case)


@pytest.mark.parametrize(
    ("prefix", "filesystem"),
    [
        ("/home/me/.local/share/llm-fabric", "nfs4"),
        ("/scratch/x", "tmpfs"),
        ("/opt/fabric", "ext4"),
        ("/", "ext4"),
        ("/home/../opt/", "ext4"),
        ("//home//me", "nfs4"),
    ],
)
def test_the_prefix_need_not_exist(prefix: str, filesystem: str, imagine: Imagine) -> None:
    found = read_filesystem(imagine(), prefix, MOUNTS)
    assert found is not None
    assert found.filesystem == filesystem


def test_links_are_followed_to_the_mount(imagine: Imagine) -> None:
    machine = imagine({"/data": "home/data", "/ring": "other", "/other": "/ring"})
    assert read_filesystem(machine, "/data/models", MOUNTS) == read_filesystem(imagine(), "/home/data/models", MOUNTS)
    assert read_filesystem(machine, "/data/models", MOUNTS) != ROOT
    assert read_filesystem(machine, "/database/models", MOUNTS) == ROOT
    assert read_filesystem(machine, "/ring/models", MOUNTS) is None


def test_a_relative_prefix_and_no_mounts_tell_nothing(imagine: Imagine) -> None:
    assert read_filesystem(imagine(), "opt/fabric", MOUNTS) is None
    assert read_filesystem(imagine(), "/opt/fabric", ()) is None
