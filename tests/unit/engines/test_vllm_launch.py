"""How vLLM is started: on the GPUs that the model was fitted to, with what each of them takes of it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from provision.choosing import read_knowledge
from provision.domain.gpu import Gpu
from provision.domain.model import Model, Parsers
from provision.domain.selection import Selection
from provision.domain.spec import Spec
from provision.engines.engine import Placement
from provision.engines.vllm import LEAST_CACHE_BYTES, PARAMETERS, Vllm
from provision.select.choose import Chooser
from tests.standin.machines import GIB, LINUX, nvidia

KNOWLEDGE = read_knowledge()
PLACE = Placement(Path("/p/engine"), Path("/p/model"), Path("/p/gen/1"), Path("/p/var/vllm"), None)
CARD_GIB = 16
SPEC = Spec(backend="vllm", acceleration="cuda")


def cards(count: int) -> tuple[Gpu, ...]:
    return tuple(nvidia("9.0", "580.65.06", CARD_GIB, uuid=f"GPU-{number}") for number in range(count))


def known(name: str) -> Model:
    model = next(row for row in KNOWLEDGE.catalog.models if row.name == name).model("vllm")
    assert model is not None
    return model


def chosen(gpus: tuple[Gpu, ...], model: Model, spec: Spec = SPEC, previous: Selection | None = None) -> Selection:
    choice = Chooser(spec, replace(LINUX, gpus=gpus), model, KNOWLEDGE, 8080, previous).choose()
    assert choice.selection is not None, choice.refusal
    return choice.selection


def arguments(selection: Selection) -> dict[str, str]:
    files = Vllm().launch(selection, PLACE).files
    words = json.loads(files[PARAMETERS])["arguments"]
    return {word: value for word, value in zip(words, [*words[1:], ""], strict=True) if word.startswith("--")}


def test_a_model_takes_as_few_cards_as_it_fits_on() -> None:
    small = chosen(cards(4), known("qwen3.5-4b"))
    assert (small.devices, small.fit.workers) == (("GPU-0",), 1)
    large = chosen(cards(4), known("qwen3.5-9b"))
    assert (large.devices, large.fit.workers) == (("GPU-0", "GPU-1"), 2)
    assert [len([line for line in each.why if "stays free" in line]) for each in (small, large)] == [3, 2]


def test_heads_that_cannot_be_divided_stay_on_one_card() -> None:
    assert known("smollm2-135m").shape.heads_kv == 3
    fits, divided = (replace(SPEC, context=8192, parallel=parallel) for parallel in (60, 90))
    assert chosen(cards(2), known("smollm2-135m"), fits).devices == ("GPU-0",)
    two = replace(LINUX, gpus=cards(2))
    assert Chooser(divided, two, known("smollm2-135m"), KNOWLEDGE, 8080).choose().selection is None


def test_it_sees_its_cards_and_divides_every_layer_among_them() -> None:
    one, two = chosen(cards(2), known("qwen3.5-4b")), chosen(cards(2), known("qwen3.5-9b"))
    assert arguments(one)["--tensor-parallel-size"] == "1"
    assert arguments(two)["--tensor-parallel-size"] == "2"
    assert Vllm().launch(one, PLACE).env["CUDA_VISIBLE_DEVICES"] == "GPU-0"
    assert Vllm().launch(two, PLACE).env["CUDA_VISIBLE_DEVICES"] == "GPU-0,GPU-1"


def test_cards_that_only_their_place_on_the_bus_tells_apart_are_not_named() -> None:
    unnamed = tuple(replace(card, uuid=None, pci=f"0000:0{number}:00.0") for number, card in enumerate(cards(2)))
    assert "CUDA_VISIBLE_DEVICES" not in Vllm().launch(chosen(unnamed, known("qwen3.5-9b")), PLACE).env


def test_each_card_gets_its_part_of_the_cache() -> None:
    two = chosen(cards(2), known("qwen3.5-9b"), replace(SPEC, context=32768))
    assert two.fit.kv_cache_bytes > 4 * LEAST_CACHE_BYTES
    assert int(arguments(two)["--kv-cache-memory-bytes"]) == two.fit.kv_cache_bytes // 2 * 11 // 10


def test_as_much_memory_has_to_be_free_as_it_takes() -> None:
    for selection in (chosen(cards(2), known("qwen3.5-4b")), chosen(cards(2), known("qwen3.5-9b"))):
        share = float(arguments(selection)["--gpu-memory-utilization"])
        taken = selection.fit.need_bytes / (CARD_GIB * GIB * selection.fit.workers)
        assert taken <= share < taken + 0.011


@pytest.mark.parametrize(
    ("model", "tool_call", "reasoning"),
    [
        ("qwen3.5-4b", "qwen3_coder", "qwen3"),
        ("gpt-oss-20b", "openai", "openai_gptoss"),
        ("smollm2-135m", "hermes", None),
    ],
)
def test_calls_of_tools_and_thoughts_are_told_from_the_answer(
    model: str, tool_call: str | None, reasoning: str | None
) -> None:
    said = arguments(chosen(cards(2), known(model)))
    assert (said.get("--tool-call-parser"), said.get("--reasoning-parser")) == (tool_call, reasoning)
    assert ("--enable-auto-tool-choice" in said) is (tool_call is not None), "one is nothing without the other"


def test_of_a_model_that_says_nothing_of_tools_nothing_is_told() -> None:
    plain = replace(known("smollm2-135m"), parsers=Parsers())
    assert not [name for name in arguments(chosen(cards(2), plain)) if "parser" in name or "tool" in name]


def test_on_a_processor_nothing_is_said_of_gpus() -> None:
    here = chosen((), known("smollm2-135m"), Spec(backend="vllm"))
    assert here.acceleration == "cpu"
    assert here.devices == ()
    assert not {"--tensor-parallel-size", "--gpu-memory-utilization"} & arguments(here).keys()
    assert "CUDA_VISIBLE_DEVICES" not in Vllm().launch(here, PLACE).env


@pytest.mark.parametrize("left", [("GPU-0", "GPU-1", "GPU-2"), ("GPU-1", "GPU-2")])
def test_the_cards_are_kept_as_long_as_they_are_there(left: tuple[str, ...]) -> None:
    three = cards(3)
    first = chosen(three, known("qwen3.5-4b"))
    emptied = tuple(
        replace(card, memory=replace(card.memory, free_bytes=8 * GIB)) if card.uuid == "GPU-0" else card
        for card in three
        if card.uuid in left
    )
    again = chosen(emptied, known("qwen3.5-4b"), previous=first)
    assert again.devices == (("GPU-0",) if "GPU-0" in left else ("GPU-1",))
