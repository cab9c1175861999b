"""What our own server holds is free for the next one: where it is held, and nowhere else."""

from __future__ import annotations

from dataclasses import replace

import pytest

from provision.choosing import read_knowledge
from provision.domain.facts import Facts, Memory
from provision.domain.gpu import Gpu, GpuInstance, GpuMemory
from provision.domain.selection import Fit, Selection
from provision.domain.spec import Spec
from provision.select.choose import Chooser
from provision.select.held import with_ours_given_back
from tests.standin.machines import ARM, GB10, GIB, LINUX, nvidia
from tests.unit.select.known_models import card

KNOWLEDGE = read_knowledge()
VLLM = Spec(backend="vllm")
TWO_CARDS = tuple(nvidia("9.0", "580.65.06", 24, uuid=f"GPU-{number}") for number in range(2))


def served(need_gib: float, *devices: str, kind: str = "dedicated", workers: int = 1) -> Selection:
    """Return the selection of a server that holds ``need_gib`` of the memory of these devices."""
    need = int(need_gib * GIB)
    selection = chosen(replace(LINUX, gpus=TWO_CARDS), VLLM)
    fit = Fit("fits", need, None, need, 0, 4096, budget_kind=kind, workers=workers)
    return replace(selection, devices=devices, fit=fit)


def chosen(facts: Facts, spec: Spec) -> Selection:
    wanted = next((row for row in KNOWLEDGE.catalog.models if row.name == spec.model), None)
    choice = Chooser(spec, facts, wanted, KNOWLEDGE, 8080).choose()
    assert choice.selection is not None, choice.refusal
    return choice.selection


def gpu(uuid: str, total: float, free: float) -> Gpu:
    return replace(card(total, free), uuid=uuid)


def free(facts: Facts) -> list[float | None]:
    known = (each.memory.free_bytes for each in facts.gpus)
    return [None if each is None else each / GIB for each in known]


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        (served(12, "b"), [10, 22, 10]),
        (served(12, "b", "c", workers=2), [10, 16, 16]),
        (served(12, "b", "c"), [10, 16, 16]),
        (served(12), [14, 14, 14]),
        (served(30, "a"), [24, 10, 10]),
        (served(12, "gone"), [10, 10, 10]),
    ],
    ids=["one", "divided", "spread", "nobody knows where", "more than there is", "not there any more"],
)
def test_cards_get_back_what_is_held_of_them(selection: Selection, expected: list[float]) -> None:
    cards = tuple(gpu(uuid, 24, 10) for uuid in "abc")
    assert free(with_ours_given_back(Facts(gpus=cards), selection)) == expected


@pytest.mark.parametrize(
    ("cards", "need", "expected"),
    [
        ((gpu("a", 24, 4), gpu("b", 24, 24)), 20, [24, 24]),
        ((gpu("a", 24, 4), gpu("b", 24, 23)), 20, [23, 24]),
        ((gpu("a", 24, 4), gpu("b", 12, 2)), 28, [22, 12]),
        ((gpu("a", 24, 24), gpu("b", 12, 12)), 28, [24, 12]),
    ],
    ids=["all of one", "a little of the other", "more of the larger one", "nothing is in use"],
)
def test_cards_that_layers_are_spread_over_get_back_all_of_it(
    cards: tuple[Gpu, ...], need: float, expected: list[float]
) -> None:
    assert free(with_ours_given_back(Facts(gpus=cards), served(need, "a", "b"))) == expected


def test_a_card_that_shares_each_layer_gets_no_more_than_its_part() -> None:
    """Of the second one somebody else holds much: that stays theirs, however little the first one has in use."""
    cards = gpu("a", 24, 20), gpu("b", 24, 2)
    assert free(with_ours_given_back(Facts(gpus=cards), served(16, "a", "b", workers=2))) == [24, 10]


def test_a_card_gets_no_more_of_a_divided_model_than_was_its_budget() -> None:
    """Of 40 GiB it could take 13, because somebody else holds 10; the rest is in main memory."""
    whole = served(40, "a")
    partial = replace(whole, fit=replace(whole.fit, verdict="partial", budget_bytes=13 * GIB))
    assert free(with_ours_given_back(Facts(gpus=(gpu("a", 24, 1),)), partial)) == [14]


def test_what_is_free_of_a_card_stays_unknown() -> None:
    cards = replace(gpu("a", 24, 0), memory=GpuMemory("dedicated", 24 * GIB)), gpu("b", 24, 2)
    assert free(with_ours_given_back(Facts(gpus=cards), served(12, "a"))) == [None, 2]


def test_a_card_whose_size_is_not_known_gets_its_share() -> None:
    cards = replace(gpu("a", 24, 0), memory=GpuMemory("dedicated", None, 4 * GIB)), gpu("b", 24, 2)
    assert free(with_ours_given_back(Facts(gpus=cards), served(12, "a", "b"))) == [10, 8]


def test_of_a_partitioned_card_the_instance_gets_it() -> None:
    parts = tuple(GpuInstance(uuid, "3g.20gb", card(20, free).memory) for uuid, free in (("MIG-1", 2), ("MIG-2", 5)))
    whole = replace(gpu("GPU-1", 40, 7), partitioned=True, instances=parts)
    (after,) = with_ours_given_back(Facts(gpus=(whole,)), served(17, "MIG-1")).gpus
    assert [part.memory.free_bytes for part in after.instances] == [19 * GIB, 5 * GIB]
    assert replace(after, instances=parts) == whole


@pytest.mark.parametrize(
    ("before", "available"),
    [
        (Memory(16 * GIB, 4 * GIB), 9),
        (Memory(16 * GIB, 4 * GIB, 6 * GIB), 6),
        (Memory(None, 4 * GIB), 9),
        (Memory(16 * GIB, None), None),
    ],
    ids=["usual", "no more than a control group has", "size unknown", "unknown"],
)
def test_main_memory_gets_back_what_a_server_on_the_processor_holds(before: Memory, available: int | None) -> None:
    after = with_ours_given_back(Facts(memory=before), served(5, kind="cpu")).memory
    assert after == replace(before, available_bytes=None if available is None else available * GIB)


@pytest.mark.parametrize(
    ("pool", "after", "available"), [("host", 52, 50), ("gtt", 52, 50), ("working-set", 52, 50), ("vram", 52, 10)]
)
def test_a_gpu_that_shares_main_memory_and_that_memory_get_it_both(pool: str, after: int, available: int) -> None:
    """But what the firmware set aside for the GPU is no main memory."""
    shared = replace(card(62, 12, "unified", pool), uuid="GPU-1")
    before = Facts(gpus=(shared, replace(shared, uuid="GPU-2")), memory=Memory(64 * GIB, 10 * GIB))
    given_back = with_ours_given_back(before, served(40, "GPU-1", kind="unified"))
    assert free(given_back) == [after, 12]
    assert given_back.memory == replace(before.memory, available_bytes=available * GIB)


def test_another_context_keeps_its_model_where_memory_is_shared() -> None:
    """GB10: its free memory is that of the machine, which the model has taken most of."""
    spec = Spec(backend="ollama")
    idle = replace(LINUX, os=ARM.os, gpus=(GB10,), memory=Memory(120 * GIB, 118 * GIB))
    first = chosen(idle, spec)
    assert (first.fit.budget_kind, first.fit.need_bytes > 40 * GIB) == ("unified", True)
    left = 118 * GIB - first.fit.need_bytes
    now = replace(idle, gpus=(_busier(GB10, first.fit.need_bytes),), memory=replace(idle.memory, available_bytes=left))
    longer = chosen(with_ours_given_back(now, first), replace(spec, context=8192))
    assert (longer.devices, longer.model, longer.context) == (first.devices, first.model, 8192)


@pytest.mark.parametrize(
    ("others_gib", "model"), [(0, "qwen3.5-4b"), (21, "qwen3.5-4b"), (21, "auto")], ids=["idle", "in use", "any model"]
)
def test_another_context_stays_on_its_card_with_its_model(others_gib: int, model: str) -> None:
    """Two equal cards, and vLLM serves on the first: the second one is as full as it was."""
    spec = replace(VLLM, model=model)
    before = replace(LINUX, gpus=(TWO_CARDS[0], _busier(TWO_CARDS[1], others_gib * GIB)))
    first = chosen(before, spec)
    assert first.devices == ("GPU-0",)
    now = replace(before, gpus=(_busier(before.gpus[0], first.fit.need_bytes), before.gpus[1]))
    longer = chosen(with_ours_given_back(now, first), replace(spec, context=8192))
    assert (longer.devices, longer.model, longer.context) == (first.devices, first.model, 8192)


def _busier(gpu: Gpu, taken: int) -> Gpu:
    return replace(gpu, memory=replace(gpu.memory, free_bytes=(gpu.memory.free_bytes or 0) - taken))
