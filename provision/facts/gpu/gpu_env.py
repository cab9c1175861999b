"""The environment variables that change what engines see of the GPUs, as they are set."""

from __future__ import annotations

from collections.abc import Mapping

NAMES = (
    "CUDA_VISIBLE_DEVICES",
    "CUDA_DEVICE_ORDER",
    "NVIDIA_VISIBLE_DEVICES",
    "ROCR_VISIBLE_DEVICES",
    "HIP_VISIBLE_DEVICES",
    "GPU_DEVICE_ORDINAL",
    "ONEAPI_DEVICE_SELECTOR",
    "ZE_AFFINITY_MASK",
    "GGML_VK_VISIBLE_DEVICES",
    "VK_DRIVER_FILES",
    "VK_ICD_FILENAMES",
)
_OVERRIDE = "HSA_OVERRIDE_GFX_VERSION"  # for all GPUs; with _ and a number behind it, for one


def read_gpu_env(env: Mapping[str, str]) -> dict[str, str]:
    """Return those that are set, sorted by name. An empty value is kept: it hides every GPU."""
    return {name: env[name] for name in sorted(env) if name in NAMES or _overrides(name)}


def _overrides(name: str) -> bool:
    stem, _, number = name.rpartition("_")
    return name == _OVERRIDE or (stem == _OVERRIDE and number.isdecimal())
