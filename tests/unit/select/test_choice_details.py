"""What the choice looks at besides the rules: drivers, masks, memory, disk, quantizations, instances."""

from __future__ import annotations

from dataclasses import replace

import pytest

from provision.domain.facts import Disk, Facts
from provision.domain.gpu import Gpu, GpuInstance, GpuMemory, GpuState, Obstacle
from provision.domain.spec import Install, Spec
from provision.errors import UsageError
from provision.select.choose import Chooser
from provision.select.knowledge import Knowledge
from tests.standin.machines import (
    GIB,
    LINUX,
    M1,
    MAC,
    amd,
    dedicated,
    gpu,
    nvidia,
    unified,
)


def against(knowledge: Knowledge, backend: str, acceleration: str, *gpus: Gpu, facts: Facts = LINUX) -> set[str]:
    choice = Chooser(Spec(), replace(facts, gpus=gpus), None, knowledge, 8080).choose()
    return {a.reason for a in choice.alternatives if (a.backend, a.acceleration) == (backend, acceleration)}


def test_an_old_driver_is_named_with_the_one_that_is_needed(knowledge: Knowledge) -> None:
    reasons = against(knowledge, "ollama", "cuda", nvidia("6.1", "470.256.02", 6))
    assert "the build needs driver 570, nvidia 6.1 has 470.256.02" in reasons


def test_a_broken_climb_is_told(knowledge: Knowledge) -> None:
    broken = Gpu(
        vendor="nvidia",
        name="NVIDIA GeForce RTX 3090",
        state=GpuState.DRIVER,
        obstacle=Obstacle.LIBRARY_MISMATCH,
        detail="the library is 570.133, the module 550.163",
    )
    reasons = against(knowledge, "ollama", "cuda", broken)
    assert any("cannot be used through cuda: library mismatch: the library is 570.133" in reason for reason in reasons)


def test_a_masked_gpu_is_not_used(knowledge: Knowledge) -> None:
    masked = replace(nvidia("8.9", "570.133.07", 24), masked=True)
    best = Chooser(Spec(), replace(LINUX, gpus=(masked,)), None, knowledge, 8080).choose().recommended
    assert best is not None
    assert best.acceleration == "cpu"


def test_the_processor_s_own_gpu_does_not_count_beside_a_card(knowledge: Knowledge) -> None:
    raphael = gpu("amd", "gfx1036", unified(15, "gtt"), "rocm", "vulkan", integrated=True)
    both = replace(LINUX, gpus=(raphael, amd("gfx1100", 24, "rocm", "vulkan")))
    best = Chooser(Spec(), both, None, knowledge, 8080).choose().recommended
    assert best is not None
    assert best.devices == ("amd gfx1100",)


def test_two_cards_are_one_budget(knowledge: Knowledge) -> None:
    one = Chooser(Spec(), replace(LINUX, gpus=(nvidia("8.6", "570.1", 24),)), None, knowledge, 8080).choose()
    two = Chooser(Spec(), replace(LINUX, gpus=(nvidia("8.6", "570.1", 24),) * 2), None, knowledge, 8080).choose()
    assert one.recommended is not None
    assert two.recommended is not None
    assert one.recommended.fit.budget_bytes is not None
    assert two.recommended.fit.budget_bytes == int(one.recommended.fit.budget_bytes * 2 * 0.95)
    assert two.recommended.model.size_bytes > one.recommended.model.size_bytes


def test_a_partitioned_card_counts_as_its_largest_instance(knowledge: Knowledge) -> None:
    instances = tuple(GpuInstance(f"MIG-{n}", None, dedicated(gib, gib)) for n, gib in enumerate((19.5, 9.75, 4.75)))
    a100 = replace(nvidia("8.0", "550.144.03", 40), partitioned=True, instances=instances)
    best = Chooser(Spec(), replace(LINUX, gpus=(a100,)), None, knowledge, 8080).choose().recommended
    assert best is not None
    assert best.fit.budget_bytes == int(19.5 * GIB) - GIB


def test_an_odd_old_card_is_left_out(knowledge: Knowledge) -> None:
    mixed = (nvidia("8.9", "580.65", 24), nvidia("3.5", "580.65", 12))
    best = Chooser(Spec(), replace(LINUX, gpus=mixed), None, knowledge, 8080).choose().recommended
    assert best is not None
    assert best.devices == ("nvidia 8.9",)


def test_a_gpu_of_unknown_memory_counts_when_it_is_asked_for(knowledge: Knowledge) -> None:
    arc = gpu("intel", "alchemist", GpuMemory("dedicated"), "vulkan", integrated=False)
    facts = replace(LINUX, gpus=(arc,))
    made = Chooser(Spec(), facts, None, knowledge, 8080).choose().recommended
    asked = Chooser(Spec(acceleration="vulkan"), facts, None, knowledge, 8080).choose().recommended
    assert made is not None
    assert made.acceleration == "cpu"
    assert asked is not None
    assert (asked.acceleration, asked.fit.verdict) == ("vulkan", "unknown")


def test_a_model_that_the_disk_has_no_room_for_is_not_proposed(knowledge: Knowledge) -> None:
    card = replace(LINUX, gpus=(nvidia("8.9", "570.133.07", 24),))
    small = replace(card, disk=Disk("/", 5 * GIB))
    best = Chooser(Spec(), small, None, knowledge, 8080).choose().recommended
    assert best is not None
    assert best.model.size_bytes < 5 * GIB


def test_quantizations_that_a_gpu_cannot_compute_are_not_proposed(knowledge: Knowledge) -> None:
    for cards in ((nvidia("8.6", "580.65", 48),), (amd("gfx90a", 64, "rocm"),)):
        best = Chooser(Spec(parallel=8), replace(LINUX, gpus=cards), None, knowledge, 8080).choose().recommended
        assert best is not None
        assert best.backend == "vllm"
        assert best.model.quantization != "FP8"
    hopper = replace(LINUX, gpus=(nvidia("9.0", "580.65", 48),))
    best = Chooser(Spec(parallel=8), hopper, None, knowledge, 8080).choose().recommended
    assert best is not None
    assert best.model.quantization == "FP8"


def test_a_card_with_little_free_memory_leaves_it_to_the_processor(knowledge: Knowledge) -> None:
    busy = replace(nvidia("8.6", "570.1", 12), memory=dedicated(12, 2))
    choice = Chooser(Spec(), replace(LINUX, gpus=(busy,)), None, knowledge, 8080).choose()
    assert choice.recommended is not None
    assert choice.recommended.acceleration == "cpu"
    assert any("2.0 GiB of memory free, others use the rest" in each.reason for each in choice.alternatives)


def test_a_python_that_rosetta_translates_installs_nothing(knowledge: Knowledge) -> None:
    translated = replace(MAC, os=replace(MAC.os, translated=True), gpus=(M1,))
    choice = Chooser(Spec(), translated, None, knowledge, 8080).choose()
    assert choice.recommended is not None
    assert choice.recommended.acceleration == "metal"
    assert choice.refusal is not None
    assert "Rosetta" in choice.refusal.message


def test_every_profile_names_engines_that_are_known(knowledge: Knowledge) -> None:
    engines = {build.engine for build in knowledge.builds}
    for profile in knowledge.hardware.profiles:
        assert set(profile.engines) <= engines
        assert profile.why


def test_what_cannot_be_installed_is_refused_with_the_nearest_thing_that_can(knowledge: Knowledge) -> None:
    card = replace(LINUX, gpus=(nvidia("8.9", "570.133.07", 24),))
    wheels = Spec(acceleration="cuda", install=Install(("wheel",)))
    choice = Chooser(wheels, card, None, knowledge, 8080).choose()
    assert choice.selection is None
    assert choice.refusal is not None
    assert "with --acceleration cuda" in choice.refusal.message
    assert choice.refusal.hint == "What can run here: llamacpp on cpu. Leave --acceleration cuda out."


def test_a_kv_cache_of_four_bits_is_not_for_vllm(knowledge: Knowledge) -> None:
    spec = Spec(kv_cache="q4_0")
    with pytest.raises(UsageError, match="vllm has no KV cache of type q4_0") as refused:
        Chooser(replace(spec, backend="vllm"), LINUX, None, knowledge, 8080).choose()
    assert refused.value.hint == "Use --kv-cache f16 or q8_0, or leave it out."
    chosen = Chooser(spec, LINUX, None, knowledge, 8080).choose().selection
    assert chosen is not None
    assert chosen.backend != "vllm"
