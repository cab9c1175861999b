"""Model references: a catalogue name, or ``file:PATH`` for model files that are already here."""

from __future__ import annotations

from collections.abc import Callable

from provision.domain.model import Model
from provision.domain.spec import AUTO
from provision.errors import UsageError, did_you_mean
from provision.knowledge.models import Catalog
from provision.select.offer import Wanted

FILE_PREFIX = "file:"
NOT_YET = ("hf:", "ollama:", "https:", "http:", "wheel:")


def find_model(reference: str, catalog: Catalog, read_file: Callable[[str], Model]) -> Wanted:
    """Resolve ``--model``; ``None`` where any will do. ``read_file`` describes model files by their path.

    Raises ``UsageError`` for an unknown name, with the nearest known one.
    """
    if reference == AUTO:
        return None
    if reference.startswith(FILE_PREFIX):
        return read_file(reference.removeprefix(FILE_PREFIX))
    if reference.startswith(NOT_YET):
        kind = reference.partition(":")[0]
        raise UsageError(
            f"Models from {kind}: cannot be fetched by this version.",
            "Download the GGUF file yourself and use --model file:PATH, or a name from `fabric models list`.",
        )
    rows = {row.name: row for row in catalog.models}
    if reference not in rows:
        raise UsageError(
            f"There is no model {reference!r} in the catalogue.{did_you_mean(reference, list(rows))}",
            f"Known: {', '.join(rows)}. A file of your own: --model file:PATH.",
        )
    return rows[reference]
