"""What ``--model`` means: any that suits, a name of the catalogue, or a reference to files, here or elsewhere."""

from __future__ import annotations

from collections.abc import Callable

from provision.domain.model import Model
from provision.domain.reference import is_reference
from provision.domain.spec import AUTO
from provision.errors import UsageError, did_you_mean
from provision.knowledge.models import Catalog
from provision.select.offer import Wanted


def find_model(reference: str, catalog: Catalog, describe: Callable[[str], Model]) -> Wanted:
    """Resolve ``--model``; ``None`` where any will do. ``describe`` tells of the model that a reference names.

    Raises ``UsageError`` for an unknown name, with the nearest known one, and what ``describe`` raises.
    """
    if reference == AUTO:
        return None
    if is_reference(reference):
        return describe(reference)
    rows = {row.name: row for row in catalog.models}
    if reference not in rows:
        raise UsageError(
            f"There is no model {reference!r} in the catalogue.{did_you_mean(reference, list(rows))}",
            f"Known: {', '.join(rows)}. A file of your own: --model file:PATH; else hf:ORG/REPO, ollama:NAME.",
        )
    return rows[reference]
