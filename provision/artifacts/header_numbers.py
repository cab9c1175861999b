"""Numbers that a model's header or configuration says of itself: bounded before anybody computes with them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeGuard

from provision.errors import InvalidInputError

MAX_NUMBER = 1 << 31


def is_number(value: Any) -> TypeGuard[int]:
    """Tell whether ``value`` is a count that a model could have."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_NUMBER


class Numbers:
    """The numbers among ``values`` under keys that begin with ``prefix``; ``missing`` makes the error for a key."""

    def __init__(
        self, values: Mapping[str, Any], missing: Callable[[str], InvalidInputError], prefix: str = ""
    ) -> None:
        self._values, self._missing, self._prefix = values, missing, prefix

    def maybe(self, key: str) -> int | None:
        """Return a number, ``None`` where it is not there or is something else."""
        value = self._values.get(f"{self._prefix}{key}")
        return value if is_number(value) else None

    def need(self, key: str, least: int = 0, most: int = MAX_NUMBER) -> int:
        """Return a number from ``least`` to ``most``. Raises ``InvalidInputError`` where there is none."""
        value = self.maybe(key)
        if value is None or not least <= value <= most:
            raise self._missing(f"{self._prefix}{key}")
        return value
