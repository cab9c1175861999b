"""The rules of profiles/hardware.yaml, row by row: what suits which hardware best, and which build of it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from provision.domain.facts import Cpu, Facts, Memory
from provision.domain.gpu import Gpu
from provision.domain.spec import Spec
from provision.select.choose import Chooser
from provision.select.knowledge import Knowledge
from tests.standin.machines import (
    ARM,
    GB10,
    GIB,
    LINUX,
    M1,
    MAC,
    ORIN,
    STRIX_HALO,
    UHD,
    amd,
    dedicated,
    gpu,
    nvidia,
)

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
    ("integrated only", LINUX, (UHD,), Spec(), ("cpu", "llamacpp", "cpu", "cpu")),
    (
        "integrated, asked for",
        LINUX,
        (UHD,),
        Spec(acceleration="vulkan"),
        ("integrated", "llamacpp", "vulkan", "vulkan"),
    ),
    ("a small card", LINUX, (nvidia("7.5", "570.10", 2),), Spec(), ("cpu", "llamacpp", "cpu", "cpu")),
    ("no GPU", LINUX, (), Spec(), ("cpu", "llamacpp", "cpu", "cpu")),
    ("Arm without GPU", ARM, (), Spec(), ("cpu-arm", "llamacpp", "cpu", "cpu-arm")),
    (
        "old processor",
        replace(LINUX, cpu=Cpu(isa=("sse4_2",))),
        (),
        Spec(),
        ("cpu-small", "llamacpp", "cpu", "cpu"),
    ),
    (
        "little memory",
        replace(LINUX, memory=Memory(2 * GIB, 2 * GIB)),
        (),
        Spec(),
        ("cpu-small", "llamacpp", "cpu", "cpu"),
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
