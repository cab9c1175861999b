"""What ``--model`` means: any that suits, a name of the catalogue, or a reference to files, here or elsewhere."""

from __future__ import annotations

from collections.abc import Callable

from provision.domain.model import Model
from provision.domain.reference import is_reference
from provision.domain.spec import AUTO
from provision.errors import UsageError, did_you_mean
from provision.knowledge.models import Catalog
from provision.select.aliases import find_row
from provision.select.offer import Wanted


def described_now(model: Model, engine: str, catalog: Catalog) -> Model:
    """Return a model as the catalogue describes it today, for an engine; as it is where it is none of the catalogue."""
    rows = (row for row in catalog.models if row.name == model.name)
    known = (each for row in rows for each in (row.model(engine), *row.stand_ins(engine)))
    return next((each for each in known if each is not None and each.reference == model.reference), model)


def find_model(reference: str, catalog: Catalog, describe: Callable[[str], Model]) -> Wanted:
    """Resolve ``--model``; ``None`` where any will do. ``describe`` tells of the model that a reference names.

    A model of the catalogue may be called as any engine calls it.

    Raises ``UsageError`` for an unknown name, with the nearest known one, and what ``describe`` raises.
    """
    if reference == AUTO:
        return None
    if is_reference(reference):
        return describe(reference)
    row = find_row(reference, catalog)
    if row is None:
        names = [each.name for each in catalog.models]
        raise UsageError(
            f"There is no model {reference!r} in the catalogue.{did_you_mean(reference, names)}",
            f"Known: {', '.join(names)}. A file of your own: --model file:PATH; else hf:ORG/REPO, ollama:NAME.",
        )
    return row
