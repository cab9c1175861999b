"""Comparing versions: parts as numbers, and nothing said of what is no version."""

from __future__ import annotations

MOST_PARTS, _MAX_DIGITS = 8, 9


def numbers(version: str | None) -> tuple[int, ...]:
    """Return the parts of a version as numbers, ``()`` where it has others, or absurd ones."""
    parts = (version or "").split(".")
    sound = len(parts) <= MOST_PARTS and all(
        part.isascii() and part.isdigit() and len(part) <= _MAX_DIGITS for part in parts
    )
    return tuple(map(int, parts)) if sound else ()


def older(version: str | None, floor: str) -> bool:
    """Tell whether a version is known and lower than ``floor``."""
    known = numbers(version)
    return bool(known) and known < numbers(floor)
