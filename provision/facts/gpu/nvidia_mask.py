"""The environment variables that hide NVIDIA's GPUs, read as CUDA and the container runtime read them.

Source: CUDA programming guide, "CUDA environment variables". NVML and nvidia-smi ignore the first of them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from provision.domain.gpu import Gpu, GpuInstance, Obstacle

VISIBLE = "CUDA_VISIBLE_DEVICES"
ORDER = "CUDA_DEVICE_ORDER"
RUNTIME = "NVIDIA_VISIBLE_DEVICES"
_BY_ADDRESS = "PCI_BUS_ID"
_NO_GPUS = ("none", "void")
_NOT_GIVEN = (Obstacle.NO_DEVICE_NODES, Obstacle.NO_LIBRARY)


class _Choice(NamedTuple):
    """What an entry names: the GPU's place in the list, and one instance of it where it names that."""

    gpu: int
    instance: GpuInstance | None = None


def mask(gpus: Sequence[Gpu], env: Mapping[str, str], in_container: bool = False) -> tuple[Gpu, ...]:
    """Return ``gpus`` with ``masked`` set where ``env`` hides one; where it names MIG instances, only those stay.

    CUDA's list ends at its first entry that names no GPU, and counts only GPUs that CUDA can use. It numbers them
    from the fastest down unless told to go by address, so a number means one GPU only where all are equal, there
    is one, or the order is given. Raises ``ValueError`` where an entry could mean several GPUs: nothing is guessed,
    and ``may_hide`` is what remains to be said.

    The container runtime's variable was meant for whoever started the container, and generated device lists (CDI)
    set it to ``void`` beside GPUs that work: it explains only why GPUs cannot be used.
    """
    if in_container and env.get(RUNTIME) in _NO_GPUS:
        gpus = [replace(gpu, masked=gpu.obstacle in _NOT_GIVEN) for gpu in gpus]
    if VISIBLE not in env:
        return tuple(gpus)
    usable = [place for place, gpu in enumerate(gpus) if "cuda" in gpu.apis]
    choices = _choices(env[VISIBLE].split(","), [gpus[place] for place in usable], env.get(ORDER) == _BY_ADDRESS)
    chosen: dict[int, list[GpuInstance]] = {}
    for choice in choices:
        chosen.setdefault(usable[choice.gpu], []).extend([choice.instance] if choice.instance else [])
    return tuple(_apply(gpu, chosen.get(place)) if place in usable else gpu for place, gpu in enumerate(gpus))


def may_hide(gpus: Sequence[Gpu]) -> tuple[Gpu, ...]:
    """Return ``gpus`` where which of them the variable hides is not known: any that CUDA can use."""
    return tuple(replace(gpu, masked=None) if "cuda" in gpu.apis else gpu for gpu in gpus)


def _apply(gpu: Gpu, instances: list[GpuInstance] | None) -> Gpu:
    if instances is None:
        return replace(gpu, masked=True)
    return replace(gpu, instances=tuple(instances)) if instances else gpu


def _choices(entries: Sequence[str], gpus: Sequence[Gpu], by_address: bool) -> list[_Choice]:
    choices: list[_Choice] = []
    numbers: list[int] = []
    for entry in entries:
        text = entry.strip()
        if re.fullmatch("[0-9]{1,3}", text) and int(text) < len(gpus):
            numbers.append(int(text))
        elif (choice := _by_uuid(text, gpus)) is not None:
            choices.append(choice)
        else:
            break
    return choices + [_Choice(place) for place in _by_number(set(numbers), gpus, by_address)]


def _by_number(numbers: set[int], gpus: Sequence[Gpu], by_address: bool) -> list[int]:
    places = list(range(len(gpus)))
    if len(numbers) in (0, len(gpus)):
        return places if numbers else []
    if by_address and all(gpu.pci is not None for gpu in gpus):
        places.sort(key=lambda place: gpus[place].pci or "")
    elif len({(gpu.name, gpu.arch, gpu.memory.total_bytes) for gpu in gpus}) > 1:
        raise ValueError(f"{VISIBLE} has numbers, which mean nothing certain without {ORDER}={_BY_ADDRESS}")
    return [places[number] for number in sorted(numbers)]


def _by_uuid(text: str, gpus: Sequence[Gpu]) -> _Choice | None:
    """Find the one GPU whose UUID begins like this, or the MIG instance; the old form names its GPU first."""
    if not text.startswith(("GPU-", "MIG-")):
        return None
    if text.startswith("MIG-GPU-"):
        text = text.removeprefix("MIG-").partition("/")[0]
    known: list[tuple[str | None, _Choice]] = [(gpu.uuid, _Choice(place)) for place, gpu in enumerate(gpus)]
    if text.startswith("MIG-"):
        known = [(part.uuid, _Choice(place, part)) for place, gpu in enumerate(gpus) for part in gpu.instances]
    found = [choice for uuid, choice in known if uuid is not None and uuid.startswith(text)]
    if not found and any(uuid is None for uuid, _ in known):
        raise ValueError(f"{VISIBLE} has a UUID, and not every GPU's is known")
    return found[0] if len(found) == 1 else None
