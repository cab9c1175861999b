from __future__ import annotations

from typing import Any

import pytest

from provision.domain.facts import Memory
from provision.domain.gpu import Gpu, GpuInstance, GpuMemory
from provision.select.budget import Budget, budget_for_cpu, budgets_for_gpus
from tests.unit.select.known_models import GIB, MIB, SIZING, spread_over

RAM = Memory(64 * GIB, 60 * GIB, None)


@pytest.mark.parametrize(
    ("memory", "usable"),
    [
        (Memory(16 * GIB, 12 * GIB, None), 10 * GIB),  # 2 GiB stay free
        (Memory(64 * GIB, 60 * GIB, None), 60 * GIB - int(6.4 * GIB)),  # a tenth of a large machine
        (Memory(64 * GIB, 2 * GIB, 2 * GIB), 1 * GIB),  # a container: half of its limit
        (Memory(1 * GIB, 256 * MIB, None), 0),
        (Memory(None, None, None), None),
        (Memory(8 * GIB, None, None), None),
        (Memory(None, 8 * GIB, None), None),
    ],
    ids=["usual", "large", "container", "full", "unknown", "only all of it known", "only the free part known"],
)
def test_main_memory_leaves_something_to_the_machine(memory: Memory, usable: int | None) -> None:
    budget = budget_for_cpu(memory, SIZING)
    assert (budget.kind, budget.usable_bytes) == ("cpu", usable)


def card(total: float, free: float | None, **own: Any) -> Gpu:
    known = None if free is None else int(free * GIB)
    return Gpu(memory=GpuMemory("dedicated", int(total * GIB), known), **own)


def test_a_card_leaves_a_gibibyte_or_a_share_of_a_large_one() -> None:
    small = spread_over([card(8, 7.5, uuid="GPU-1", name="RTX 4060")], RAM)
    assert small == Budget("dedicated", int(6.5 * GIB), ("GPU-1",), 8 * GIB)
    large = spread_over([card(141, 140, pci="0000:01:00.0")], RAM)
    assert large.usable_bytes == 140 * GIB - int(0.04 * 141 * GIB)
    assert large.devices == ("0000:01:00.0",)


def test_a_card_in_use_counts_with_what_is_left() -> None:
    assert spread_over([card(24, 3)], RAM).usable_bytes == 2 * GIB
    assert spread_over([card(24, 0.5)], RAM).usable_bytes == 0


@pytest.mark.parametrize(
    "gpu",
    [
        Gpu(memory=GpuMemory("dedicated")),
        Gpu(),
        Gpu(memory=GpuMemory(free_bytes=8 * GIB)),
        Gpu(memory=GpuMemory("unified", 8 * GIB)),
    ],
    ids=["size unknown", "nothing known", "kind unknown", "unified without main memory"],
)
def test_memory_that_is_not_known_stays_unknown(gpu: Gpu) -> None:
    assert spread_over([gpu], Memory()).usable_bytes is None


def test_a_card_whose_driver_does_not_tell_what_is_free_counts_with_most_of_it() -> None:
    assert spread_over([card(12, None)], RAM).usable_bytes == int(12 * GIB * 0.9) - GIB


def test_what_one_process_may_map_bounds_it() -> None:
    free = budget_for_cpu(Memory(64 * GIB, 60 * GIB), SIZING).usable_bytes
    bound = budget_for_cpu(Memory(64 * GIB, 60 * GIB, None, 4 * GIB), SIZING)
    assert free is not None
    assert bound == Budget("cpu", 2 * GIB, total_bytes=4 * GIB)


def test_no_gpu_has_no_memory() -> None:
    assert spread_over([], RAM).usable_bytes == 0


def test_layers_are_spread_over_unequal_cards_at_a_small_loss() -> None:
    two = spread_over([card(24, 23.5, uuid="a"), card(12, 11.5, uuid="b")], RAM)
    assert two == Budget("dedicated", int((22.5 + 10.5) * GIB * 0.95), ("a", "b"), 36 * GIB)


def in_step(*cards: Gpu) -> Budget:
    return budgets_for_gpus(cards, RAM, SIZING, tensor_parallel=True)[-1]


def test_tensor_parallel_uses_as_much_of_each_as_of_the_fullest() -> None:
    two = in_step(card(24, 23.5, uuid="a"), card(24, 19, uuid="b"))
    assert two == Budget("dedicated", 2 * 18 * GIB, ("a", "b"), 48 * GIB, workers=2)


def test_tensor_parallel_leaves_cards_out_that_are_not_equal() -> None:
    assert in_step(card(24, 23.5, uuid="a"), card(12, 11.5, uuid="b")).devices == ("a",)
    assert in_step(card(8, 7, uuid="a"), card(24, 23.5, uuid="b"), card(8, 7, uuid="c")).devices == ("b",)


def test_tensor_parallel_takes_as_many_cards_as_heads_can_be_divided_by() -> None:
    three = in_step(*(card(24, free, uuid=str(free)) for free in (23.5, 23, 22)))
    assert three == Budget("dedicated", 2 * 22 * GIB, ("23.5", "23"), 48 * GIB, workers=2)


def test_fewer_cards_come_first_each_number_with_the_emptiest() -> None:
    cards = [card(24, free, uuid=str(free)) for free in (22, 23.5, 23, 21)]
    budgets = budgets_for_gpus(cards, RAM, SIZING, tensor_parallel=True)
    assert [budget.devices for budget in budgets] == [("23.5",), ("23.5", "23"), ("23.5", "23", "22", "21")]
    assert [budget.workers for budget in budgets] == [1, 2, 4]
    assert len(budgets_for_gpus(cards, RAM, SIZING)) == 1, "layers are spread over all of them"


def test_cards_that_idle_are_taken_in_their_order() -> None:
    cards = [card(24, 23.5, uuid="a"), card(24, 23.6, uuid="b"), card(24, 23.7, uuid="c")]
    one, two = budgets_for_gpus(cards, RAM, SIZING, tensor_parallel=True)
    assert (one.devices, two.devices) == (("a",), ("a", "b"))
    assert two.usable_bytes == int(22.5 * GIB) * 2


def test_a_card_that_is_in_use_does_not_drag_the_others_down() -> None:
    assert in_step(card(24, 23.5, uuid="a"), card(24, 3, uuid="b")).devices == ("a",)


def test_a_card_whose_memory_is_not_known_is_not_counted_on() -> None:
    cards = [card(24, 23.5, uuid="a"), Gpu(uuid="b", memory=GpuMemory("dedicated"))]
    assert spread_over(cards, RAM).devices == ("a",)
    assert in_step(*cards).devices == ("a",)


def part(uuid: str, gib: float) -> GpuInstance:
    return GpuInstance(uuid, "MIG", GpuMemory("dedicated", int(gib * GIB), int(gib * GIB)))


def test_a_partitioned_card_counts_as_its_largest_instance() -> None:
    gpu = card(40, 39, partitioned=True, instances=(part("MIG-1", 4.75), part("MIG-2", 19.5), part("MIG-3", 4.75)))
    budget = spread_over([gpu], RAM)
    assert budget == Budget("dedicated", int(18.5 * GIB), ("MIG-2",), int(19.5 * GIB))


def test_an_instance_and_a_whole_card_cannot_be_used_together() -> None:
    gpu = card(40, 39, partitioned=True, instances=(part("MIG-1", 19.5),))
    assert spread_over([gpu, card(24, 23, uuid="whole")], RAM).devices == ("whole",)
    assert spread_over([gpu, card(8, 7, uuid="whole")], RAM).devices == ("MIG-1",)


def test_a_partitioned_card_without_instances_is_not_a_whole_one() -> None:
    assert spread_over([card(40, 39, partitioned=True)], RAM).usable_bytes is None


def shared(total: int | None, free: int | None, pool: str) -> Gpu:
    total_bytes, free_bytes = (None if each is None else each * GIB for each in (total, free))
    return Gpu(memory=GpuMemory("unified", total_bytes, free_bytes, pool), integrated=True, name="shared")


@pytest.mark.parametrize(
    ("gpu", "memory", "usable"),
    [
        # GB10: 128 GB of main memory, no figure from the library
        (shared(None, None, "host"), Memory(120 * GIB, 110 * GIB), 98 * GIB),
        # Strix Halo, the driver may map half of main memory, and programs have taken most of what is free
        (shared(62, 60, "gtt"), Memory(124 * GIB, 30 * GIB), 30 * GIB - int(12.4 * GIB)),
        # Strix Halo, 96 GiB set aside by the firmware: outside main memory, of which 27 are free
        (shared(96, 95, "vram"), Memory(31 * GIB, 27 * GIB), 95 * GIB - int(3.1 * GIB)),
        # a small board keeps no more than half of its memory free
        (shared(3, 3, "host"), Memory(3 * GIB, 3 * GIB), int(1.5 * GIB)),
        (shared(62, 60, "gtt"), Memory(), 60 * GIB - int(6.2 * GIB)),
    ],
    ids=["GB10", "gtt", "vram", "small", "main memory unknown"],
)
def test_memory_that_is_shared_leaves_something_to_the_machine(gpu: Gpu, memory: Memory, usable: int) -> None:
    budget = spread_over([gpu], memory)
    assert (budget.kind, budget.usable_bytes) == ("unified", usable)


@pytest.mark.parametrize(
    ("total", "memory", "usable"),
    [
        (5.3, Memory(8 * GIB, 6 * GIB), int(5.3 * GIB) - GIB),
        (5.3, Memory(8 * GIB, 3 * GIB), 3 * GIB),  # never more than is free
        (107.5, Memory(128 * GIB, 120 * GIB), int(107.5 * GIB) - 2 * GIB),
        (48.0, Memory(64 * GIB, 60 * GIB), 46 * GIB),
        (36.0, Memory(48 * GIB, 46 * GIB), 35 * GIB),
        (5.3, Memory(8 * GIB, None), None),
    ],
)
def test_apples_working_set_keeps_a_gibibyte_or_two(total: float, memory: Memory, usable: int | None) -> None:
    for free in (None, memory.available_bytes):
        gpu = Gpu("apple", memory=GpuMemory("unified", int(total * GIB), free, "working-set"))
        assert spread_over([gpu], memory).usable_bytes == usable


def test_beside_a_card_main_memory_is_not_counted_a_second_time() -> None:
    gpus = [shared(62, 60, "gtt"), card(24, 23, uuid="card")]
    assert spread_over(gpus, RAM) == spread_over(gpus[1:], RAM)
    two = [shared(62, 60, "gtt"), shared(62, 50, "gtt")]
    assert spread_over(two, RAM) == spread_over(two[:1], RAM)
