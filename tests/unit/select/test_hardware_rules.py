"""The rules of profiles/hardware.yaml, row by row: what suits which hardware best, and which build of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from provision.domain.facts import Cpu, Disk, Facts, Libc, Memory, OperatingSystem
from provision.domain.gpu import Gpu, GpuInstance, GpuMemory, GpuState, Obstacle
from provision.domain.spec import Spec
from provision.select.choose import Chooser
from provision.select.knowledge import Knowledge

GIB = 1 << 30


def dedicated(total_gib: float, free_gib: float | None = None) -> GpuMemory:
    return GpuMemory("dedicated", int(total_gib * GIB), int((total_gib - 0.5 if free_gib is None else free_gib) * GIB))


def unified(total_gib: float, pool: str = "host") -> GpuMemory:
    return GpuMemory("unified", int(total_gib * GIB), int((total_gib - 2) * GIB), pool)


def gpu(vendor: str, arch: str | None, memory: GpuMemory, *apis: str, **more: Any) -> Gpu:
    state = GpuState.USABLE if apis else GpuState.DRIVER
    return Gpu(vendor=vendor, name=f"{vendor} {arch}", arch=arch, memory=memory, apis=apis, state=state, **more)


def nvidia(arch: str, driver: str, gib: float, **more: Any) -> Gpu:
    return gpu("nvidia", arch, dedicated(gib), "cuda", driver=driver, integrated=False, **more)


def amd(arch: str, gib: float, *apis: str) -> Gpu:
    return gpu("amd", arch, dedicated(gib), *apis, integrated=False)


LINUX = Facts(
    os=OperatingSystem(system="Linux", distribution="ubuntu", arch="x86_64", libc=Libc("glibc", "2.39")),
    cpu=Cpu(cores_usable=8, isa=("avx", "avx2", "bmi2", "f16c", "fma")),
    memory=Memory(64 * GIB, 60 * GIB),
    disk=Disk("/", 500 * GIB),
)
ARM = replace(LINUX, os=replace(LINUX.os, arch="aarch64"), cpu=Cpu(cores_usable=8, isa=("asimd", "asimddp", "asimdhp")))
MAC = Facts(
    os=OperatingSystem(system="Darwin", arch="arm64", version="15.6"),
    cpu=Cpu(cores_usable=8, isa=("asimd", "asimddp")),
    memory=Memory(16 * GIB, 12 * GIB),
    disk=Disk("/", 100 * GIB),
)
M1 = gpu("apple", "m1", GpuMemory("unified", 11 * GIB, 11 * GIB, "working-set"), "metal", integrated=True)
STRIX_HALO = gpu("amd", "gfx1151", unified(62.5, "gtt"), "rocm", "vulkan", integrated=True)
GB10 = gpu("nvidia", "12.1", unified(120), "cuda", driver="580.95.05", integrated=True)
ORIN = gpu("nvidia", "8.7", unified(30), "cuda", driver="540.4.0", integrated=True, l4t="36.4.3")
UHD = gpu("intel", "gen9", GpuMemory("unified"), "vulkan", integrated=True)

ROWS: list[tuple[str, Facts, tuple[Gpu, ...], Spec, tuple[str, str, str, str]]] = [
    ("Apple", MAC, (M1,), Spec(), ("apple", "ollama", "metal", "metal")),
    ("RTX 4090", LINUX, (nvidia("8.9", "570.133.07", 24),), Spec(), ("nvidia", "ollama", "cuda", "cuda_v12")),
    ("new driver", LINUX, (nvidia("9.0", "580.159.04", 140),), Spec(), ("nvidia", "ollama", "cuda", "cuda_v13")),
    ("Pascal on 580", LINUX, (nvidia("6.1", "580.65", 8),), Spec(), ("nvidia", "ollama", "cuda", "cuda_v12")),
    (
        "many users",
        LINUX,
        (nvidia("8.6", "550.163", 24),),
        Spec(parallel=4),
        ("nvidia-server", "vllm", "cuda", "cu129"),
    ),
    ("few users", LINUX, (nvidia("8.6", "550.163", 24),), Spec(parallel=3), ("nvidia", "ollama", "cuda", "cuda_v12")),
    (
        "asked for a server",
        LINUX,
        (nvidia("9.0", "580.159.04", 140),),
        Spec(profile="server"),
        ("nvidia-server", "vllm", "cuda", "cu130"),
    ),
    ("MI300X server", LINUX, (amd("gfx942", 192, "rocm"),), Spec(parallel=8), ("amd-server", "vllm", "rocm", "rocm")),
    ("Jetson", ARM, (ORIN,), Spec(), ("jetson", "ollama", "cuda", "jetpack")),
    ("GB10", ARM, (GB10,), Spec(), ("nvidia-unified", "ollama", "cuda", "cuda_v13")),
    ("GB10 server", ARM, (GB10,), Spec(parallel=8), ("nvidia-unified-server", "vllm", "cuda", "cu130")),
    ("Strix Halo", LINUX, (STRIX_HALO,), Spec(), ("strix-halo", "ollama", "vulkan", "vulkan")),
    (
        "Strix Halo, long contexts",
        LINUX,
        (STRIX_HALO,),
        Spec(acceleration="rocm"),
        ("amd-rocm-unified", "ollama", "rocm", "rocm"),
    ),
    ("RX 7900 XTX", LINUX, (amd("gfx1100", 24, "rocm", "vulkan"),), Spec(), ("amd-rocm", "ollama", "rocm", "rocm")),
    ("RX 580", LINUX, (amd("gfx803", 8, "rocm", "vulkan"),), Spec(), ("amd-vulkan", "ollama", "vulkan", "vulkan")),
    ("gfx1031", LINUX, (amd("gfx1031", 12, "rocm", "vulkan"),), Spec(), ("amd-rocm", "llamacpp", "rocm", "rocm")),
    (
        "Arc",
        LINUX,
        (gpu("intel", "alchemist", dedicated(16), "vulkan", integrated=False),),
        Spec(),
        ("intel-arc", "llamacpp", "vulkan", "vulkan"),
    ),
    ("integrated only", LINUX, (UHD,), Spec(), ("cpu", "ollama", "cpu", "cpu")),
    (
        "integrated, asked for",
        LINUX,
        (UHD,),
        Spec(acceleration="vulkan"),
        ("integrated", "llamacpp", "vulkan", "vulkan"),
    ),
    ("a small card", LINUX, (nvidia("7.5", "570.10", 2),), Spec(), ("cpu", "ollama", "cpu", "cpu")),
    ("no GPU", LINUX, (), Spec(), ("cpu", "ollama", "cpu", "cpu")),
    ("Arm without GPU", ARM, (), Spec(), ("cpu-arm", "ollama", "cpu", "cpu")),
    (
        "old processor",
        replace(LINUX, cpu=Cpu(isa=("sse4_2",))),
        (),
        Spec(),
        ("cpu-small", "llamacpp", "cpu", "source"),
    ),
    (
        "little memory",
        replace(LINUX, memory=Memory(2 * GIB, 2 * GIB)),
        (),
        Spec(),
        ("cpu-small", "llamacpp", "cpu", "xllamacpp-linux-x86_64"),
    ),
    (
        "a file of the user's",
        LINUX,
        (nvidia("8.9", "570.133.07", 24),),
        Spec(model="file:model.gguf"),
        ("nvidia", "llamacpp", "cuda", "cuda12"),
    ),
]


@pytest.mark.parametrize(("facts", "gpus", "spec", "expected"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_the_best_for_this_hardware(
    knowledge: Knowledge, facts: Facts, gpus: tuple[Gpu, ...], spec: Spec, expected: tuple[str, str, str, str]
) -> None:
    model = knowledge.catalog.models[0].model("llamacpp") if spec.model.startswith("file:") else None
    best = Chooser(spec, replace(facts, gpus=gpus), model, knowledge, 8080).choose().recommended
    assert best is not None
    assert (best.profile, best.backend, best.acceleration, best.build) == expected
    assert len(best.devices) == (0 if best.acceleration == "cpu" else len(gpus))


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
    assert any("cannot be used through cuda: the library is 570.133" in reason for reason in reasons)


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


def test_every_profile_names_engines_that_are_known(knowledge: Knowledge) -> None:
    engines = {build.engine for build in knowledge.builds}
    for profile in knowledge.hardware.profiles:
        assert set(profile.engines) <= engines
        assert profile.why


def test_what_cannot_be_installed_is_refused_with_the_nearest_thing_that_can(knowledge: Knowledge) -> None:
    card = replace(LINUX, gpus=(nvidia("8.9", "570.133.07", 24),))
    choice = Chooser(Spec(acceleration="cuda"), card, None, knowledge, 8080).choose()
    assert choice.selection is None
    assert choice.refusal is not None
    assert "with --acceleration cuda" in choice.refusal.message
    assert choice.refusal.hint == "What can run here: llamacpp on cpu. Leave --acceleration cuda out."
