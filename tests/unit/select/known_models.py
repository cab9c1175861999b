"""Models that people run, the memory of machines that they run them on, and any other model."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import strategies as st

from provision.domain.facts import Memory
from provision.domain.gpu import Gpu, GpuMemory
from provision.domain.model import AttentionGroup, Model, ModelShape
from provision.knowledge.sizing import load_sizing
from provision.select.budget import Budget, budget_for_cpu, budgets_for_gpus

MIB, GIB = 1 << 20, 1 << 30
SIZING = load_sizing()


def sized(name: str, gib: float, shape: ModelShape, quantization: str = "Q4_K_M", kind: str = "gguf") -> Model:
    return Model(name, name, kind, quantization, int(gib * GIB), None, shape)


LLAMA_8B = sized("llama-3.1-8b", 4.58, ModelShape("llama", 32, 8, 128, 128, 131_072))
LLAMA_8B_BF16 = sized("llama-3.1-8b", 14.96, LLAMA_8B.shape, "BF16", "safetensors")
LLAMA_70B = sized("llama-3.3-70b", 39.6, ModelShape("llama", 80, 8, 128, 128, 131_072))
QWEN_4B = sized("qwen3-4b", 2.33, ModelShape("qwen3", 36, 8, 128, 128, 40_960))
OSS = AttentionGroup(12, 8, 64, 64), AttentionGroup(12, 8, 64, 64, 128)
GPT_OSS_20B = sized("gpt-oss-20b", 11.27, ModelShape("gpt-oss", 24, 8, 64, 64, 131_072, OSS), "MXFP4")
GPT_OSS_120B = sized("gpt-oss-120b", 59.0, ModelShape("gpt-oss", 36, 8, 64, 64, 131_072), "MXFP4")


def gpu(gib: float, free: float) -> Budget:
    return spread_over([card(gib, free)], Memory())


def spread_over(gpus: Sequence[Gpu], memory: Memory) -> Budget:
    """Return what a server has whose layers are spread over these GPUs."""
    return budgets_for_gpus(gpus, memory, SIZING)[-1]


def card(gib: float, free: float, kind: str = "dedicated", pool: str | None = None) -> Gpu:
    return Gpu(memory=GpuMemory(kind, int(gib * GIB), int(free * GIB), pool))


def cpu(total: float, available: float) -> Budget:
    return budget_for_cpu(Memory(int(total * GIB), int(available * GIB)), SIZING)


SHAPES = st.builds(
    ModelShape,
    st.just("any"), st.integers(1, 130), st.integers(0, 128), st.integers(0, 576), st.integers(0, 576),
    st.integers(1, 2**20),
    st.lists(st.builds(AttentionGroup, st.integers(1, 60), st.integers(1, 16), st.integers(1, 256),
                       st.integers(1, 256), st.none() | st.integers(1, 8192)), max_size=3).map(tuple),
    st.integers(0, GIB),
)  # fmt: skip
MODELS = st.builds(
    Model,
    st.just("any"), st.just("any"), st.sampled_from(["gguf", "safetensors", "other"]),
    st.sampled_from(["Q8_0", "Q4_K_M", "BF16", "MXFP4", None]), st.integers(0, 700 * GIB), st.none(), SHAPES,
    layer_bytes=st.none() | st.integers(0, 8 * GIB), other_bytes=st.none() | st.integers(0, 8 * GIB),
)  # fmt: skip
