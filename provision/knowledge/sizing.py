"""How much memory may be taken, and how engines use it: the constants of the fit, from ``profiles/fit.yaml``."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from provision.domain.units import MIB
from provision.knowledge.load import load

Mebibytes = Annotated[int, Meta(ge=0, description="MiB: 1,048,576 bytes.")]
Share = Annotated[float, Meta(ge=0, le=1, description="A share from 0 to 1.")]
Tokens = Annotated[int, Meta(ge=1)]
KvType = Literal["f16", "q8_0", "q4_0"]


class Reserve(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What stays free: the larger of a fixed amount and a share of all memory of that kind."""

    reserve_mib: Mebibytes
    reserve_share: Share

    def bytes_of(self, total_bytes: int) -> int:
        """Return what stays free of ``total_bytes``."""
        return max(self.reserve_mib * MIB, int(total_bytes * self.reserve_share))


class WorkingSet(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What stays free below Apple's working set; machines with ``large_from_mib`` of memory or more leave more."""

    reserve_mib: Mebibytes
    large_from_mib: Mebibytes
    large_reserve_mib: Mebibytes


class BudgetRules(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What stays free of each kind of memory.

    ``free_unknown_share`` is the share of a card's memory that is counted as free where nobody tells.
    """

    cpu: Reserve
    dedicated: Reserve
    unified: Reserve
    working_set: WorkingSet
    small_share: Share
    free_unknown_share: Share
    layer_split_share: Share


class Compute(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What an engine needs beside weights and cache: ``base_mib`` and a share of the weights, within bounds."""

    base_mib: Mebibytes = 0
    weights_share: Share = 0.0
    least_mib: Mebibytes = 0
    most_mib: Mebibytes | None = None

    def bytes_for(self, weights_bytes: int) -> int:
        """Return what is needed beside ``weights_bytes`` of weights."""
        wanted = max(self.least_mib * MIB, self.base_mib * MIB + int(weights_bytes * self.weights_share))
        return wanted if self.most_mib is None else min(wanted, self.most_mib * MIB)


class EngineMemory(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How one engine uses memory; profiles/fit.yaml says what each field means."""

    engine: str
    cpu: Compute
    gpu: Compute
    every_slot: bool
    source: str
    window_margin_tokens: Annotated[int, Meta(ge=0)] = 0
    cell_step_tokens: Tokens = 1
    utilization: Share | None = None
    unpacked_bits: dict[str, Annotated[float, Meta(gt=0, le=64)]] = {}
    kv_types: tuple[KvType, ...] | None = None


class Quantization(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``bits`` a weight over a whole file; ``offered`` says whether it is worth suggesting."""

    name: str
    bits: Annotated[float, Meta(gt=0, le=64)]
    offered: bool = True


class Sizing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file. ``quantizations`` are by model format, largest first.

    ``kv_element_bytes`` is the size of one element of the KV cache, ``kv_types`` that of each type it can have.
    """

    version: int
    checked: str
    comfortable_share: Share
    context_step_tokens: Tokens
    kv_element_bytes: Annotated[float, Meta(gt=0)]
    kv_types: dict[KvType, Annotated[float, Meta(gt=0)]]
    budgets: BudgetRules
    engines: Annotated[tuple[EngineMemory, ...], Meta(min_length=1)]
    quantizations: dict[str, tuple[Quantization, ...]]

    def engine(self, name: str) -> EngineMemory:
        """Return how the engine ``name`` uses memory; the first one stands in for one that is not listed."""
        return next((rule for rule in self.engines if rule.engine == name), self.engines[0])

    def kv_types_of(self, engine: str) -> tuple[str, ...]:
        """Return the types of KV cache that an engine can be asked for."""
        return self.engine(engine).kv_types or tuple(self.kv_types)

    def with_kv_cache(self, kind: str) -> Sizing:
        """Return the same for a KV cache of this type; ``auto`` is the engines' own."""
        bytes_each = next((each for name, each in self.kv_types.items() if name == kind), self.kv_element_bytes)
        return msgspec.structs.replace(self, kv_element_bytes=bytes_each)

    def bits(self, model_format: str, quantization: str | None) -> float | None:
        """Return the bits of a weight in files of this kind; ``None`` where they are not known."""
        ladder = self.quantizations.get(model_format, ())
        return next((each.bits for each in ladder if each.name == quantization), None)


def load_sizing() -> Sizing:
    """Return what is known, from ``profiles/fit.yaml``."""
    sizing: Sizing = load("fit", Sizing)
    return sizing
