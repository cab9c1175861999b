from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from provision.facts.cgroup import (
    Limits,
    MemoryGroup,
    Mount,
    directories,
    parse_bytes,
    parse_cpu_max,
    parse_mountinfo,
    parse_self_cgroup,
    parse_stat,
    read_limits,
    share,
)
from provision.host.machine import Machine


@pytest.mark.cases("limits")
def test_limits(case: dict[str, Any], imagine: Callable[..., Machine]) -> None:
    memory = case["memory"]
    expected = None if memory is None else Limits(case["cpus"], tuple(MemoryGroup(*group) for group in memory))
    assert read_limits(imagine(case["files"])) == expected


@pytest.mark.cases("walks")
def test_walk_from_the_group_to_the_root_of_the_mount(case: dict[str, Any]) -> None:
    mounts = [Mount(root, point, frozenset()) for root, point in case["mounts"]]
    assert list(directories(case["group"], mounts)) == case["directories"]


def test_a_path_longer_than_any_is_not_walked() -> None:
    assert directories("/a" * 5000, [Mount("/", "/cg", frozenset())]) == ("/cg",)


def test_membership_of_a_hybrid_system() -> None:
    text = "9:name=systemd:/init\n4:memory:/fabric\n2:cpu,cpuacct:/a:b\n0::/u\n"
    groups = {"name=systemd": "/init", "memory": "/fabric", "cpu": "/a:b", "cpuacct": "/a:b", "": "/u"}
    assert parse_self_cgroup(text) == groups


def test_mounts_of_control_groups_only_with_escapes_and_the_topmost_at_a_point() -> None:
    text = (
        "22 1 254:1 / / rw - ext4 /dev/root rw\n"
        "30 22 0:26 /old /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"
        "31 22 0:26 / /sys/fs/cgroup rw shared:4 master:1 - cgroup2 cgroup2 rw,nsdelegate\n"
        "32 22 0:27 /with\\040space /cg\\134x rw - cgroup cgroup rw,cpu,cpuacct\n"
    )
    assert parse_mountinfo(text) == (
        Mount("/", "/sys/fs/cgroup", frozenset()),
        Mount("/with space", "/cg\\x", frozenset({"rw", "cpu", "cpuacct"})),
    )


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("max\n", None),
        ("-1\n", None),
        ("9223372036854771712\n", None),
        (f"{1 << 60}\n", None),
        (f"{(1 << 60) - 1}\n", (1 << 60) - 1),
        ("2147483648\n", 2147483648),
        ("0\n", 0),
    ],
)
def test_bytes(text: str, limit: int | None) -> None:
    assert parse_bytes(text) == limit


@pytest.mark.parametrize(
    ("text", "cpus"),
    [("max 100000\n", None), ("150000 100000\n", 1.5), ("50000 100000", 0.5), ("200000", 2.0), ("1000 1000000", 0.001)],
)
def test_cpu_max(text: str, cpus: float | None) -> None:
    assert parse_cpu_max(text) == cpus


@pytest.mark.parametrize("text", ["", "fast", "100000 0", "1 -1", "max-ish 1"])
def test_cpu_max_that_makes_no_sense(text: str) -> None:
    with pytest.raises(ValueError, match=r"\S"):
        parse_cpu_max(text)


def test_share_of_version_1() -> None:
    assert share(-1, 100_000) is None
    assert share(50_000, 100_000) == 0.5


def test_stat_skips_what_is_no_counter() -> None:
    assert parse_stat("inactive_file 12\nodd line here\nactive_file 3\n") == {"inactive_file": 12, "active_file": 3}
