from __future__ import annotations

from typing import Any

import pytest

from provision.domain.facts import Memory
from provision.facts.cgroup import Limits, MemoryGroup
from provision.facts.memory import MemInfo, describe_memory, parse_meminfo

MIB = 1 << 20


@pytest.mark.cases("meminfo")
def test_meminfo(case: dict[str, Any]) -> None:
    assert parse_meminfo(case["text"]) == MemInfo(case["total"], case["available"])


def test_meminfo_without_a_total_makes_no_sense() -> None:
    with pytest.raises(ValueError, match="MemTotal"):
        parse_meminfo("MemFree: 12 kB\n")


@pytest.mark.parametrize(
    ("groups", "available", "limit"),
    [
        ([], 700, None),
        ([(500, 100)], 400, 500),
        ([(500, 600)], 0, 500),
        ([(900, 100)], 700, 900),
        ([(500, None)], 700, 500),
        ([(1000, 999)], 700, None),
        ([(2000, 1999)], 700, None),
        ([(400, 50), (600, 500)], 100, 400),
    ],
    ids=["none", "tight", "overfull", "loose", "usage unknown", "equals total", "above total", "full parent"],
)
def test_limits(groups: list[tuple[int, int | None]], available: int, limit: int | None) -> None:
    limits = Limits(
        memory=tuple(MemoryGroup("/g", size * MIB, None if used is None else used * MIB) for size, used in groups)
    )
    memory = describe_memory(MemInfo(1000 * MIB, 700 * MIB), limits)
    assert memory == Memory(1000 * MIB, available * MIB, None if limit is None else limit * MIB)


def test_limits_are_known_without_meminfo() -> None:
    limits = Limits(memory=(MemoryGroup("/g", 500, 100),))
    assert describe_memory(MemInfo(), limits) == Memory(None, 400, 500)
    assert describe_memory(MemInfo(), Limits()) == Memory()
