"""Bytes in the units that people read."""

from __future__ import annotations

GB = 10**9
MIB = 1 << 20
GIB = 1 << 30


def gib(size_bytes: int) -> str:
    """Return a size such as ``1.5 GiB``."""
    return f"{size_bytes / GIB:.1f} GiB"
