"""Numbers of bytes that say themselves in other units, too."""

from __future__ import annotations

from typing import Any

_UNITS = "KMGTPE"


class ByteSize(int):
    """A number of bytes."""

    @classmethod
    def model_validate(cls, count: Any) -> ByteSize:
        """Return what a number says. Raises ``ValueError`` or ``TypeError`` for what is none."""
        return cls(count)

    def human_readable(self, decimal: bool = False, separator: str = "") -> str:
        """Return a text such as ``4.7GiB``; where ``decimal``, in units of 1000, such as ``5.0GB``."""
        step, ending = (1000, "B") if decimal else (1024, "iB")
        size, power = float(self), 0
        while abs(size) >= step and power < len(_UNITS):
            size, power = size / step, power + 1
        return f"{size:.1f}{separator}{_UNITS[power - 1]}{ending}" if power else f"{size:.0f}{separator}B"
