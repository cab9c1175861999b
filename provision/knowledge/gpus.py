"""What is known of GPUs by their PCI ids alone, from ``profiles/gpus.yaml``."""

from __future__ import annotations

from typing import Annotated, NamedTuple

import msgspec
from msgspec import Meta

from provision.knowledge.load import load

DeviceId = Annotated[str, Meta(pattern="^[0-9a-f]{4}$", description="A PCI device id, such as 56a0.")]


class Family(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One generation of GPUs, all of them a part of a processor (``integrated``) or all of them cards.

    ``names`` maps a marketing name to the ids that have it; ``unnamed`` ids are known and have none.
    """

    family: str
    integrated: bool
    names: dict[str, tuple[DeviceId, ...]] = {}
    unnamed: tuple[DeviceId, ...] = ()


class KnownGpus(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file. ``checked`` is the day on which its sources were last read."""

    version: int
    checked: str
    intel: tuple[Family, ...]


class KnownGpu(NamedTuple):
    """What one id stands for."""

    name: str | None
    family: str
    integrated: bool


def load_intel() -> dict[int, KnownGpu]:
    """Return every GPU of Intel's that is known, by its device id."""
    known: KnownGpus = load("gpus", KnownGpus)
    gpus: dict[int, KnownGpu] = {}
    for family in known.intel:
        for name, ids in (*family.names.items(), (None, family.unnamed)):
            gpus |= {int(number, 16): KnownGpu(name, family.family, family.integrated) for number in ids}
    return gpus
