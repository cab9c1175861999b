"""A JSON document of others, or of our own that others may have changed, as a type."""

from __future__ import annotations

from typing import TypeVar

import msgspec

T = TypeVar("T")


def decoded(data: bytes, kind: type[T]) -> T:
    """Return ``data`` as ``kind``. Raises ``msgspec.MsgspecError`` for anything else, brackets without end too."""
    try:
        return msgspec.json.decode(data, type=kind)
    except UnicodeDecodeError as error:
        raise msgspec.DecodeError(f"it is not UTF-8: {error.reason} at byte {error.start}") from error
    except RecursionError as error:
        raise msgspec.DecodeError("it is nested too deeply") from error
