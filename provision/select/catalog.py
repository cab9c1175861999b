"""Model references: a catalogue name, or ``file:PATH`` for a GGUF file that is already here."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import msgspec

from provision import assets
from provision.domain.model import Model
from provision.domain.spec import AUTO
from provision.errors import UsageError, did_you_mean

FILE_PREFIX = "file:"
NOT_YET = ("hf:", "ollama:", "https:", "http:", "wheel:")


@cache
def _profile() -> Any:
    return assets.profile("models")


def catalog() -> tuple[Model, ...]:
    """Return every model of the catalogue."""
    return tuple(_model(row) for row in _profile()["models"])


def find_model(reference: str, read_file: Callable[[str], Model]) -> Model:
    """Resolve ``--model``. ``read_file`` describes a GGUF file by its path.

    Raises ``UsageError`` for an unknown name, with the nearest known one.
    """
    if reference == AUTO:
        reference = _profile()["default"]
    if reference.startswith(FILE_PREFIX):
        return read_file(reference.removeprefix(FILE_PREFIX))
    if reference.startswith(NOT_YET):
        kind = reference.partition(":")[0]
        raise UsageError(
            f"Models from {kind}: cannot be fetched by this version.",
            "Download the GGUF file yourself and use --model file:PATH, or a name from `fabric models list`.",
        )
    models = {model.name: model for model in catalog()}
    if reference not in models:
        raise UsageError(
            f"There is no model {reference!r} in the catalogue.{did_you_mean(reference, list(models))}",
            f"Known: {', '.join(models)}. A file of your own: --model file:PATH.",
        )
    return models[reference]


def _model(row: dict[str, Any]) -> Model:
    source = row["source"]
    pinned = {"sha256": source["sha256"], "size_bytes": source["size_bytes"]}
    return msgspec.convert({**row, **pinned, "reference": row["name"]}, Model)
