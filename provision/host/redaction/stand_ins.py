"""What stands for a redacted value: the same form, and one for each value."""

from __future__ import annotations


class StandIns:
    """Numbers values in the order in which they come up, each kind for itself."""

    def __init__(self) -> None:
        self._numbers: dict[str, dict[str, int]] = {}

    def number(self, kind: str, value: str) -> int:
        """Return the number of ``value``, from 1."""
        known = self._numbers.setdefault(kind, {})
        return known.setdefault(value, len(known) + 1)

    def word(self, kind: str, value: str) -> str:
        """Return ``kind`` for its first value, ``kind2`` for the next."""
        number = self.number(kind, value)
        return kind if number == 1 else f"{kind}{number}"

    def digits(self, value: str) -> str:
        """Return decimal digits, as many as ``value`` has characters."""
        return f"{self.number('identifier', value):0{len(value)}d}"

    def starting_with(self, kind: str, start: str) -> str | None:
        """Return the first known value that begins with ``start``."""
        return next((value for value in self._numbers.get(kind, {}) if value.startswith(start)), None)
