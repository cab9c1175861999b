"""What NVIDIA's management library says of its GPUs, printed as one JSON document.

A program of its own, because a library that hangs or crashes takes its process with it. It imports nothing of
``provision``. Either ``{"driver", "cuda", "devices", "refused"}``, or ``{"error", "message"}`` with NVML's return
code; what the library does not tell is ``null``. ``refused`` holds the code of each GPU that it counts and does not
open.
"""

from __future__ import annotations

import ctypes
import json
import os
from typing import Any

import pynvml  # type: ignore[import-untyped]

MAX_DEVICES = 64
MAX_INSTANCES = 16
NO_SUCH_SIZE = 1 << 60

LIBRARY = "libnvidia-ml.so.1"
# The loader's choice, then where WSL, NixOS and Google's nodes keep it without telling the loader.
PLACES = ("", "/usr/lib/wsl/lib/", "/run/opengl-driver/lib/", "/usr/local/nvidia/lib64/")


def main() -> None:
    """Print the document and nothing else, and leave before the library's own exit code runs."""
    output = os.dup(1)
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)  # what a library prints would stand in the document
    error = initialise()
    document = describe() if error is None else error
    with open(output, "w", encoding="ascii") as file:
        json.dump(document, file)
    os._exit(0)


def initialise() -> dict[str, Any] | None:
    """Start the first copy of the library that starts; an old or foreign one may lie in front of the right one.

    Return how the first one failed where all do.
    """
    errors = []
    for place in PLACES:
        code = start(place + LIBRARY)
        if code == pynvml.NVML_SUCCESS:
            return None
        errors += [] if code is None else [code]
    code = errors[0] if errors else pynvml.NVML_ERROR_LIBRARY_NOT_FOUND
    return {"error": code, "message": str(pynvml.NVMLError(code))}


def start(path: str) -> int | None:
    """Load one copy of the library and start it; return its code, ``None`` where there is nothing to load."""
    try:
        library = ctypes.CDLL(path)
    except OSError:
        return None
    initialiser = getattr(library, "nvmlInit_v2", None)
    if initialiser is None:
        return int(pynvml.NVML_ERROR_FUNCTION_NOT_FOUND)
    code = int(initialiser())
    if code == pynvml.NVML_SUCCESS:
        pynvml.nvmlLib = library
        pynvml.nvmlInit()
    return code


def describe() -> dict[str, Any]:
    """Return what the library says of the driver and of each GPU that it opens."""
    devices, refused = [], []
    for index in range(min(ask("nvmlDeviceGetCount") or 0, MAX_DEVICES)):
        try:
            handle = pynvml.nvmlDeviceGetHandleByIndex(index)
        except pynvml.NVMLError as error:
            refused.append(error.value)
        else:
            devices.append(describe_device(handle))
    return {
        "driver": ask("nvmlSystemGetDriverVersion"),
        "cuda": ask("nvmlSystemGetCudaDriverVersion_v2") or ask("nvmlSystemGetCudaDriverVersion"),
        "devices": devices,
        "refused": refused,
    }


def ask(name: str, *arguments: object) -> Any:
    """Return what one call of the library gives, ``None`` where it fails in whatever way."""
    try:
        return getattr(pynvml, name)(*arguments)
    except Exception:  # noqa: BLE001 - an old library lacks calls and garbles names; the other answers still count
        return None


def describe_device(handle: object) -> dict[str, Any]:
    """Return what the library says of one GPU."""
    memory, code = read_memory(handle)
    mode = ask("nvmlDeviceGetMigMode", handle)
    mig = None if mode is None else mode[0] == pynvml.NVML_DEVICE_MIG_ENABLE
    return {
        "name": ask("nvmlDeviceGetName", handle),
        "uuid": ask("nvmlDeviceGetUUID", handle),
        "pci": read_address(handle),
        "compute_capability": read_compute_capability(handle),
        "memory": memory,
        "mig": mig,
        "instances": read_instances(handle) if mig else [],
        "unified": is_unified(handle, memory, code),
    }


def read_memory(handle: object) -> tuple[dict[str, int] | None, int]:
    """Return total and free bytes, and the return code; a GPU that shares main memory is "not supported" or has 0.

    The second version of the call leaves what the driver keeps out of what is used; old libraries lack it.
    """
    code = pynvml.NVML_ERROR_UNKNOWN
    for version in (pynvml.nvmlMemory_v2, None):
        try:
            size = pynvml.nvmlDeviceGetMemoryInfo(handle, version)
        except pynvml.NVMLError as error:
            code = error.value
            continue
        if 0 < size.total < NO_SUCH_SIZE:
            return {"total": size.total, "free": min(size.free, size.total)}, pynvml.NVML_SUCCESS
        code = pynvml.NVML_ERROR_NOT_SUPPORTED
    return None, code


def is_unified(handle: object, memory: dict[str, int] | None, code: int) -> bool | None:
    """Tell whether the GPU works in main memory: it says so, or it answers and has none of its own."""
    if ask("nvmlDeviceGetAddressingMode", handle) == getattr(pynvml, "NVML_DEVICE_ADDRESSING_MODE_ATS", 2):
        return True
    if memory is None:
        return True if code == pynvml.NVML_ERROR_NOT_SUPPORTED else None
    return False


def read_address(handle: object) -> str | None:
    """Return the PCI address as the library writes it, with a domain of eight digits."""
    info = ask("nvmlDeviceGetPciInfo", handle)
    try:
        address = info.busId  # decoded when it is looked at, by some releases of the binding
    except (AttributeError, UnicodeDecodeError):
        return None
    return (address.decode("ascii", "replace") if isinstance(address, bytes) else address) or None


def read_compute_capability(handle: object) -> list[int] | None:
    """Return major and minor."""
    pair = ask("nvmlDeviceGetCudaComputeCapability", handle)
    return list(pair) if pair is not None and pair[0] > 0 <= pair[1] else None


def read_instances(handle: object) -> list[dict[str, Any]]:
    """Return the MIG instances that this process may see."""
    count = min(ask("nvmlDeviceGetMaxMigDeviceCount", handle) or 0, MAX_INSTANCES)
    found = (ask("nvmlDeviceGetMigDeviceHandleByIndex", handle, index) for index in range(count))
    return [
        {
            "uuid": ask("nvmlDeviceGetUUID", instance),
            "name": ask("nvmlDeviceGetName", instance),
            "memory": read_memory(instance)[0],
        }
        for instance in found
        if instance is not None
    ]


if __name__ == "__main__":
    main()
