from __future__ import annotations

from collections.abc import Callable

import pytest

from provision.facts.cpu import CpuInfo
from provision.facts.cpu_topology import read_fastest, read_numa_nodes
from provision.host.machine import Machine

Imagine = Callable[..., Machine]

LITTLE, BIG, PRIME = (0x41, 0xD05), (0x41, 0xD0B), (0x41, 0xD44)
HYBRID = "/sys/devices/cpu_core/cpus"


def capacity(number: int) -> str:
    return f"/sys/devices/system/cpu/cpu{number}/cpu_capacity"


class Counting:
    """Counts the files that are asked for."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self.paths: list[str] = []

    def __getattr__(self, name: str) -> object:
        return getattr(self._machine, name)

    def read_text(self, path: str) -> str | None:
        self.paths.append(path)
        return self._machine.read_text(path)


def test_one_kind_of_arm_core_needs_no_file(imagine: Imagine) -> None:
    machine = Counting(imagine({capacity(number): "1024\n" for number in range(144)}))
    info = CpuInfo(kinds=dict.fromkeys(range(144), BIG))
    assert read_fastest(machine, info, frozenset(range(144))) == frozenset()  # type: ignore[arg-type]
    assert machine.paths == []


def test_one_file_a_kind(imagine: Imagine) -> None:
    files = {capacity(0): "250\n", capacity(4): "900\n", capacity(6): "990\n", capacity(7): "1024\n"}
    machine = Counting(imagine(files))
    kinds = {**dict.fromkeys(range(4), LITTLE), **dict.fromkeys((4, 5), BIG), **dict.fromkeys((6, 7), PRIME)}
    fastest = read_fastest(machine, CpuInfo(kinds=kinds), frozenset(range(8)))  # type: ignore[arg-type]
    assert fastest == frozenset({6, 7})
    assert sorted(machine.paths) == [capacity(0), capacity(4), capacity(6)]


@pytest.mark.parametrize("text", [None, "", "fast\n", "9" * 5000])
def test_kinds_that_nothing_ranks_are_not_ranked(text: str | None, imagine: Imagine) -> None:
    files = {capacity(0): "414\n"} if text is None else {capacity(0): "414\n", capacity(1): text}
    assert read_fastest(imagine(files), CpuInfo(kinds={0: LITTLE, 1: BIG}), frozenset({0, 1})) is None


@pytest.mark.parametrize(
    ("text", "allowed", "fastest"),
    [
        (None, {0, 1}, set()),
        ("0-1\n", {0, 1, 2, 3}, {0, 1}),
        ("0-1\n", {1, 2}, {1}),
        ("0-1\n", {0, 1}, set()),
        ("0-1\n", {2, 3}, set()),
    ],
    ids=["one kind", "both", "one of each", "only fast ones allowed", "only slow ones allowed"],
)
def test_hybrid_intel(text: str | None, allowed: set[int], fastest: set[int], imagine: Imagine) -> None:
    machine = imagine({} if text is None else {HYBRID: text})
    assert read_fastest(machine, CpuInfo(cores=dict.fromkeys(allowed)), frozenset(allowed)) == frozenset(fastest)


def test_a_list_that_makes_no_sense(imagine: Imagine) -> None:
    with pytest.raises(ValueError, match=r"\S"):
        read_fastest(imagine({HYBRID: "many\n"}), CpuInfo(), frozenset({0}))


def test_no_processor_known_is_nothing_known(imagine: Imagine) -> None:
    assert read_fastest(imagine({HYBRID: "0-1\n"}), CpuInfo(), frozenset()) is None


@pytest.mark.parametrize(
    ("with_processors", "online", "nodes"),
    [("0\n", "0-8\n", 1), ("0-1\n", "0-1\n", 2), (None, "0,2\n", 2), ("\n", "0\n", 1), (None, None, None)],
    ids=["a GPU's memory is a node too", "two sockets", "an old kernel", "an empty list", "no nodes"],
)
def test_memory_nodes(with_processors: str | None, online: str | None, nodes: int | None, imagine: Imagine) -> None:
    texts = {"has_cpu": with_processors, "online": online}
    files = {f"/sys/devices/system/node/{name}": text for name, text in texts.items() if text is not None}
    assert read_numa_nodes(imagine(files)) == nodes
