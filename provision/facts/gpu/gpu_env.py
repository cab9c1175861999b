"""The environment variables that change what engines see of the GPUs, as they are set."""

from __future__ import annotations

from collections.abc import Mapping

# Not GPU_DEVICE_ORDINAL: AMD's runtime reads it for OpenCL alone, where HIP reads its own and CUDA's variable.
NAMES = (
    "CUDA_VISIBLE_DEVICES",
    "CUDA_DEVICE_ORDER",
    "NVIDIA_VISIBLE_DEVICES",
    "ROCR_VISIBLE_DEVICES",
    "HIP_VISIBLE_DEVICES",
    "ONEAPI_DEVICE_SELECTOR",
    "SYCL_DEVICE_FILTER",
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
