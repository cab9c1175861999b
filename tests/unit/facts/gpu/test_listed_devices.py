from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provision.domain.facts import Facts
from provision.domain.gpu import Gpu, GpuInstance, GpuMemory, GpuState, ListedDevice
from provision.engines.llamacpp_program import parse_devices
from provision.facts.gpu.listed_devices import disagreement, fill_free

SAMPLES = Path(__file__).parents[3] / "samples"
MIB = 1 << 20
EXPECTED = {
    "nvidia/llama_list_devices_cuda.txt": [("CUDA0", "cuda", "NVIDIA GeForce RTX 4090", 24564, 23592)],
    "amd/llama_list_devices_rocm_vulkan.txt": [
        ("ROCm0", "rocm", "AMD Radeon RX 7900 XTX", 24560, 23976),
        ("Vulkan0", "vulkan", "AMD Radeon RX 7900 XTX (RADV NAVI31)", 24560, 23976),
    ],
    "llama-server/llama_list_devices_cpu.txt": [],
    "apple/llama_list_devices_metal.txt": [("Metal", "metal", "Apple M3 Max", 98304, 98303)],
}


@pytest.mark.parametrize("name", EXPECTED)
def test_samples(name: str) -> None:
    devices = parse_devices((SAMPLES / name).read_text(encoding="utf-8"))
    told = [(d.identifier, d.api, d.name, d.total_bytes // MIB, d.free_bytes // MIB) for d in devices]
    assert told == EXPECTED[name]


def test_every_sample_is_parsed() -> None:
    assert {str(path.relative_to(SAMPLES)) for path in SAMPLES.glob("*/llama_list_devices_*.txt")} == EXPECTED.keys()


@pytest.mark.parametrize("rest", ["", "\n", "\n  (none)\n"])
def test_a_build_without_gpu_lists_nothing(rest: str) -> None:
    assert parse_devices(f"load_backend: loaded CPU backend\nAvailable devices:{rest}") == ()


def test_a_library_for_the_processor_is_no_gpu() -> None:
    metal, blas = "MTL0: Apple M1 Pro (12124 MiB, 12123 MiB free)", "BLAS: Accelerate (0 MiB, 0 MiB free)"
    assert [device.api for device in parse_devices(f"Available devices:\n  {metal}\n  {blas}\nbye\n")] == [
        "metal",
        None,
    ]


@pytest.mark.parametrize("text", ["", "CUDA0: x (1 MiB, 1 MiB free)", "Available devices:\n  CUDA0: x (lots)\n"])
def test_another_format_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match="device"):
        parse_devices(text)


def device(identifier: str, mib: int = 24564, name: str | None = None, free_mib: int | None = None) -> ListedDevice:
    """Return what ``parse_devices`` makes of such a line."""
    free = mib if free_mib is None else free_mib
    line = f"  {identifier}: {name or f'card {identifier}'} ({mib} MiB, {free} MiB free)"
    (parsed,) = parse_devices(f"Available devices:\n{line}")
    return parsed


def gpu(*apis: str, mib: int = 24564, **fields: object) -> Gpu:
    whole = {"memory": GpuMemory("dedicated", mib * MIB), "integrated": False, "name": "my card", **fields}
    return Gpu(state=GpuState.USABLE, apis=apis, **whole)  # type: ignore[arg-type]


CARD = gpu("cuda", "vulkan")
CHIP = gpu("rocm", "vulkan", integrated=True, memory=GpuMemory("unified", 30000 * MIB))
MIG = gpu("cuda", partitioned=True, instances=(GpuInstance(), GpuInstance()))
ABSENT = Gpu(name="absent", apis=("cuda",))


@pytest.mark.parametrize(
    ("listed", "gpus"),
    [
        ([device("CUDA0")], [CARD]),
        ([device("CUDA0"), device("Vulkan0", 24000)], [CARD]),
        ([device("CUDA0"), device("CUDA1", 8192)], [gpu("cuda", mib=8192), CARD]),
        ([device("CUDA0")], [CARD, ABSENT]),
        ([device("Vulkan0")], [CARD, CHIP]),
        ([device("Vulkan0"), device("Vulkan1")], [CARD, CHIP]),
        ([device("ROCm0", 512)], [CHIP]),
        ([device("CUDA0"), device("CUDA1")], [MIG]),
        ([device("CUDA0")], [MIG, CARD]),
        ([device("CUDA0")], [CARD, gpu("cuda", masked=True)]),
        ([device("CUDA0")], [gpu("cuda", masked=None), gpu("cuda", masked=None)]),
        ([device("CUDA0"), device("CUDA1")], [gpu("cuda", masked=None), gpu("cuda", masked=None)]),
        ([], [gpu("cuda", masked=None)]),
        ([device("BLAS")], [ABSENT]),
        ([], []),
        ([], [gpu("cuda", masked=True)]),
    ],
)
def test_agreement(listed: list[ListedDevice], gpus: list[Gpu]) -> None:
    assert disagreement(listed, Facts(gpus=tuple(gpus))) is None


NONE = "the engine lists no GPU, detection found"
CUDA0 = "for cuda the engine lists CUDA0 (card CUDA0), detection found"
TWO_ROCM = "for rocm the engine lists ROCm0 (card ROCm0), ROCm1 (card ROCm1), detection found"


@pytest.mark.parametrize(
    ("listed", "gpus", "told"),
    [
        ([], [CARD], f"{NONE} my card"),
        ([device("BLAS")], [CARD], f"{NONE} my card"),
        ([device("CUDA0")], [], f"{CUDA0} none"),
        ([device("CUDA0")], [ABSENT], f"{CUDA0} none"),
        ([device("CUDA0")], [CARD, CARD], f"{CUDA0} my card, my card"),
        ([device("CUDA0")], [gpu("vulkan")], f"{CUDA0} none"),
        ([device("ROCm0"), device("ROCm1")], [CHIP], f"{TWO_ROCM} my card"),
        ([device("CUDA0", 16380)], [CARD], "for cuda the engine counts 16380 MiB on card CUDA0, detection 24564 MiB"),
    ],
)
def test_disagreement(listed: list[ListedDevice], gpus: list[Gpu], told: str) -> None:
    assert disagreement(listed, Facts(gpus=tuple(gpus))) == told


ARC = gpu("level-zero", mib=16288, name="Intel Arc A770")
SYCL, VULKAN = "Intel(R) Arc(TM) A770 Graphics", "Intel(R) Arc(tm) A770 Graphics (DG2)"


@pytest.mark.parametrize(
    ("gpus", "listed", "free_mib"),
    [
        ([ARC], [device("SYCL0", 15473, SYCL, 15000)], [15000]),
        ([ARC], [device("SYCL0", 15473, SYCL, 15473), device("Vulkan0", 16288, VULKAN, 14000)], [14000]),
        ([ARC], [device("Vulkan0", 17000, VULKAN, 17000)], [16288]),
        ([ARC, CARD], [device("Vulkan0", 24564, "my card", 7), device("Vulkan1", 16288, VULKAN, 1)], [1, 7]),
        ([ARC], [device("Vulkan0", 16288, "Intel(R) Arc(tm) A750 Graphics (DG2)")], [None]),
        ([ARC], [device("BLAS", 16288, "Intel Arc A770")], [None]),
        ([ARC, ARC], [device("Vulkan0", 16288, VULKAN), device("Vulkan1", 16288, VULKAN)], [None, None]),
        ([ARC, gpu("vulkan", name="Intel Arc A770")], [device("Vulkan0", 16288, VULKAN)], [None, None]),
        ([ARC], [device("Vulkan0", 16288, VULKAN), device("Vulkan1", 16288, VULKAN)], [None]),
        ([gpu("vulkan", name=None)], [device("Vulkan0")], [None]),
        ([gpu("vulkan", name="x", memory=GpuMemory("unified"))], [device("Vulkan0", 9, "x")], [None]),
        ([gpu("cuda", memory=GpuMemory("dedicated", 9 * MIB, 5 * MIB))], [device("CUDA0", 9, "my card", 1)], [5]),
    ],
)
def test_free_memory_that_a_driver_does_not_tell_is_the_engine_s(
    gpus: list[Gpu], listed: list[ListedDevice], free_mib: list[int | None]
) -> None:
    filled = fill_free(gpus, listed)
    assert [each.memory.free_bytes and each.memory.free_bytes // MIB for each in filled] == free_mib
    told = [each.sources == ("llama-server",) for each in filled]
    assert told == [before.memory != after.memory for before, after in zip(gpus, filled, strict=True)]


parts = st.sampled_from(["Available devices:\n", "  CUDA0: x (1 MiB, 1 MiB free)\n", "  ", ": ", " MiB", "(", "\n"])


@given(st.text() | st.lists(parts).map("".join))
def test_any_text_is_a_list_or_an_error(text: str) -> None:
    with suppress(ValueError):
        devices = parse_devices(text)
        assert (disagreement(devices, Facts()) is None) == all(device.api is None for device in devices)
