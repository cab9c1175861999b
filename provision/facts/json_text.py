"""JSON from programs and files that nobody vouches for."""

from __future__ import annotations

from typing import Any


def parse_object(text: str, **options: Any) -> dict[str, Any]:
    """Return the object in ``text``. ``options`` go to ``json.loads``. Raises ``ValueError`` for anything else."""
    import json

    try:
        document = json.loads(text, **options)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    if isinstance(document, dict):
        return document
    raise ValueError("it is no JSON object")
