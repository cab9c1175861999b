"""What two answers of the same call have in common, whatever the words in them."""

from __future__ import annotations

from datetime import datetime
from typing import Any


def shape(value: Any) -> Any:
    """Return the names of all fields that say something, and their types; of a list, the shapes that occur in it."""
    if hasattr(value, "model_dump"):
        return shape(value.model_dump(exclude_none=True))
    if isinstance(value, dict):
        return {name: shape(item) for name, item in value.items() if item is not None}
    if isinstance(value, (list, tuple)):
        found: list[Any] = []
        for item in map(shape, value):
            if item not in found:
                found.append(item)
        return found
    return next(kind.__name__ for kind in (bool, int, float, str, datetime) if isinstance(value, kind))
