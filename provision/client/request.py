"""A request for ``/v1/chat/completions``: only what was asked for is in it. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from provision.client.port import Messages, Options
from provision.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Sequence

NAMES = tuple(Options.__annotations__)
SCHEMA_NAME = "answer"


def chat_request(messages: Messages, model: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the request; an option that is ``None`` is not in it.

    Raises ``UsageError`` for an option that does not exist, and for two that say the same.
    """
    given = {name: value for name, value in options.items() if value is not None}
    unknown = [name for name in given if name not in NAMES]
    if unknown:
        known = ", ".join(NAMES)
        raise UsageError(
            f"There is no option {unknown[0]!r}.{did_you_mean(unknown[0], list(NAMES))}",
            f"Known: {known}. What only one server knows goes into `extra`.",
        )
    if "json_schema" in given and "response_format" in given:
        raise UsageError("json_schema and response_format contradict each other.", "Give one of them.")
    extra = given.pop("extra", {})
    schema = given.pop("json_schema", None)
    if schema is not None:
        described = {"name": SCHEMA_NAME, "schema": schema, "strict": True}
        given["response_format"] = {"type": "json_schema", "json_schema": described}
    return {"model": model, "messages": _turns(messages), **given, **extra}


def _turns(messages: Messages) -> Sequence[Mapping[str, Any]]:
    return [{"role": "user", "content": messages}] if isinstance(messages, str) else list(messages)


def encoded(document: Any) -> bytes | None:
    """Return ``document`` as JSON, ``None`` as it is. Raises ``UsageError`` for what JSON cannot hold."""
    import msgspec

    if document is None:
        return None
    try:
        _check_numbers(document)
        return msgspec.json.encode(document)
    except (TypeError, ValueError, OverflowError, RecursionError, msgspec.MsgspecError) as error:
        why = "a text holds half a character" if isinstance(error, UnicodeError) else str(error)
        raise UsageError(
            f"The request cannot be written as JSON: {why}.", "Ask with text, numbers and lists."
        ) from None


def _check_numbers(value: Any) -> None:
    """Raise ``ValueError`` for a float that is infinite, or no number: JSON would have ``null`` in its place."""
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{value} is no number that it has")
    within = value.values() if isinstance(value, Mapping) else value if isinstance(value, (list, tuple)) else ()
    for each in within:
        _check_numbers(each)
