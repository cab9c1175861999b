"""Kinds of cores and of memory nodes.

Sources: the kernel's Documentation/ABI/testing/sysfs-bus-event_source-devices-… for the two event sources of hybrid
Intel processors, sysfs-devices-system-cpu for cpu_capacity, ABI/stable/sysfs-devices-node for has_cpu.
"""

from __future__ import annotations

from collections.abc import Mapping

from provision.facts.cpu import CpuInfo, Kind, parse_cpu_list
from provision.host.machine import Machine

PERFORMANCE_PATH = "/sys/devices/cpu_core/cpus"
NODE_PATHS = ("/sys/devices/system/node/has_cpu", "/sys/devices/system/node/online")
_MAX_CAPACITY_DIGITS = 6


def read_fastest(machine: Machine, info: CpuInfo, allowed: frozenset[int]) -> frozenset[int] | None:
    """Return those of the ``allowed`` processors that are of the fastest kind.

    Empty where they are all of one kind, ``None`` where no processor is known, or nothing ranks the kinds. One file
    is read on x86 and, on Arm, one a kind: capacities that differ within a kind are how its chips were sorted. AMD's
    compact cores are not told apart: the kernel shows no kind for them.
    """
    if not allowed:
        return None
    kinds = {number: info.kinds[number] for number in allowed if number in info.kinds}
    if len(kinds) < len(allowed):
        return _of_hybrid_intel(machine, allowed)
    if len(set(kinds.values())) == 1:
        return frozenset()
    fastest = _fastest_kind(machine, kinds)
    return None if fastest is None else frozenset(number for number, kind in kinds.items() if kind == fastest)


def _of_hybrid_intel(machine: Machine, allowed: frozenset[int]) -> frozenset[int]:
    """Only where both kinds are there does the kernel split its counters between them."""
    text = machine.read_text(PERFORMANCE_PATH)
    fast = frozenset[int]() if text is None else parse_cpu_list(text) & allowed
    return frozenset() if fast == allowed else fast


def _fastest_kind(machine: Machine, kinds: Mapping[int, Kind]) -> Kind | None:
    """Return the kind with the highest capacity; ``None`` where the kernel does not give that of each kind."""
    members = {kind: number for number, kind in sorted(kinds.items(), reverse=True)}
    capacities = {kind: _capacity(machine, number) for kind, number in members.items()}
    known = {kind: capacity for kind, capacity in capacities.items() if capacity is not None}
    return max(known, key=lambda kind: known[kind]) if len(known) == len(capacities) else None


def _capacity(machine: Machine, number: int) -> int | None:
    """Return how fast a processor is next to the fastest one, which has 1024."""
    text = (machine.read_text(f"/sys/devices/system/cpu/cpu{number}/cpu_capacity") or "").strip()
    return int(text) if text.isdecimal() and len(text) <= _MAX_CAPACITY_DIGITS else None


def read_numa_nodes(machine: Machine) -> int | None:
    """Count the memory nodes that have processors; ``None`` where the kernel knows of no nodes.

    Nodes without processors are the memory of GPUs or of expansion cards.
    """
    texts = (machine.read_text(path) for path in NODE_PATHS)
    return next((len(parse_cpu_list(text)) for text in texts if text is not None and text.strip()), None)
