"""The environment variables that hide AMD's GPUs from ROCm, read as its runtime and HIP read them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from provision.domain.gpu import Gpu

RUNTIME = "ROCR_VISIBLE_DEVICES"
HIP = ("HIP_VISIBLE_DEVICES", "CUDA_VISIBLE_DEVICES")
_NAMELESS = "GPU-XX"  # what ROCm calls a GPU without a unique id
_SHORTEST_UUID, _LONGEST_UUID = 5, 20


def mask(gpus: Sequence[Gpu], env: Mapping[str, str]) -> tuple[Gpu, ...]:
    """Return ``gpus`` with ``masked`` set where ``env`` hides one from ROCm.

    ``gpus`` are those that KFD lists, in its order, each known by its ``uuid`` (``GPU-`` and 16 hexadecimal digits).
    """
    shown = visible([gpu.uuid for gpu in gpus], env)
    return tuple(replace(gpu, masked=index not in shown) for index, gpu in enumerate(gpus))


def visible(uuids: Sequence[str | None], env: Mapping[str, str]) -> tuple[int, ...]:
    """Return the indices of the GPUs that a HIP program sees, in the order in which it counts them.

    The runtime's list is applied first, and HIP's to what it leaves. Each ends at its first entry that names no GPU.
    An empty list of the runtime's hides every GPU; HIP takes an empty variable for one that is not set.
    """
    shown = range(len(uuids)) if RUNTIME not in env else _runtime_order(env[RUNTIME], uuids)
    listed = next((env[name] for name in HIP if env.get(name)), None)
    if listed is None:
        return tuple(shown)
    return tuple(shown[index] for index in _hip_order(listed, [uuids[index] or _NAMELESS for index in shown]))


def _runtime_order(listed: str, uuids: Sequence[str | None]) -> list[int]:
    chosen: list[int] = []
    for entry in listed.split(",")[: len(uuids)]:
        index = _runtime_index(entry.strip().upper(), uuids)
        if index is None or index in chosen:
            break
        chosen.append(index)
    return chosen


def _runtime_index(entry: str, uuids: Sequence[str | None]) -> int | None:
    """A number, or the beginning of exactly one UUID."""
    if entry.startswith("G"):
        fits = [index for index, uuid in enumerate(uuids) if uuid is not None and uuid.upper().startswith(entry)]
        return fits[0] if len(fits) == 1 and _SHORTEST_UUID <= len(entry) <= _LONGEST_UUID else None
    try:
        index = int(entry, 0)
    except ValueError:
        return None
    return index if 0 <= index < len(uuids) else None


def _hip_order(listed: str, uuids: Sequence[str]) -> list[int]:
    chosen: list[int] = []
    for entry in listed.removesuffix(",").split(","):
        index = _hip_index(entry, uuids)
        if index is None:
            break
        if index not in chosen:
            chosen.append(index)
    return chosen


def _hip_index(entry: str, uuids: Sequence[str]) -> int | None:
    """A number exactly as a program would print it, or a part of a UUID with its prefix."""
    if "GPU-" in entry:
        return next((index for index, uuid in enumerate(uuids) if entry in uuid), None)
    return next((index for index in range(len(uuids)) if entry == str(index)), None)
