"""An engine that is on the machine, wherever it came from."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class FoundEngine:
    """One engine as it calls itself. ``where`` is as in ``on port 11434``; ``ours`` says that this prefix serves it."""

    engine: str
    version: str | None
    where: str
    ours: bool = False
