"""Main memory on Linux: what there is, and what this process may have of it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from provision.domain.facts import Memory
from provision.facts.cgroup import Limits, MemoryGroup
from provision.host.machine import Machine

LIMITS_PATH = "/proc/self/limits"
_ADDRESS_SPACE = re.compile(r"^Max address space +(?:([0-9]{1,19})|unlimited) ", re.MULTILINE)
_LINE = re.compile(r"^(\w+):\s+(\d+) kB$", re.MULTILINE)


class MemInfo(NamedTuple):
    """/proc/meminfo, in bytes."""

    total_bytes: int | None = None
    available_bytes: int | None = None


def parse_meminfo(text: str) -> MemInfo:
    """Parse /proc/meminfo. Raises ``ValueError`` where it has no total."""
    sizes = {name: int(kib) * 1024 for name, kib in _LINE.findall(text)}
    if "MemTotal" not in sizes:
        raise ValueError("it has no MemTotal")
    return MemInfo(sizes["MemTotal"], sizes.get("MemAvailable", _reclaimable(sizes)))


def _reclaimable(sizes: Mapping[str, int]) -> int | None:
    """Return what kernels before 3.14 have free or can drop; shared memory is counted as cached, but cannot go."""
    if not {"MemFree", "Buffers", "Cached"} <= sizes.keys():
        return None
    return max(0, sizes["MemFree"] + sizes["Buffers"] + sizes["Cached"] - sizes.get("Shmem", 0))


def read_meminfo(machine: Machine) -> MemInfo | None:
    """Read /proc/meminfo."""
    text = machine.read_text("/proc/meminfo")
    return None if text is None else parse_meminfo(text)


def parse_address_space(text: str) -> int | None:
    """Return the bytes that one process may map, ``None`` without a limit. Raises ``ValueError`` for another format."""
    match = _ADDRESS_SPACE.search(text)
    if match is None:
        raise ValueError("it has no limit of the address space")
    return int(match[1]) if match[1] else None


def read_address_space(machine: Machine) -> int | None:
    """Read the limit of this process, which is that of the engines that it starts."""
    text = machine.read_text(LIMITS_PATH)
    return None if text is None else parse_address_space(text)


def describe_memory(info: MemInfo, limits: Limits, address_space_bytes: int | None = None) -> Memory:
    """Put the machine's memory and the groups' limits together.

    A limit at or above what the machine has is none. Available is the least of what the machine has left and
    what each limited group has left: its limit less what it uses, page cache that can be dropped not counted.
    """
    total = info.total_bytes
    binding = [group for group in limits.memory if total is None or group.limit_bytes < total]
    left = [room for group in binding if (room := _left(group)) is not None]
    if info.available_bytes is not None:
        left.append(info.available_bytes)
    return Memory(
        total_bytes=total,
        available_bytes=min(left, default=None),
        limit_bytes=min((group.limit_bytes for group in binding), default=None),
        address_space_bytes=address_space_bytes,
    )


def _left(group: MemoryGroup) -> int | None:
    return None if group.used_bytes is None else max(0, group.limit_bytes - group.used_bytes)
