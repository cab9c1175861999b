"""An engine that is on the machine, wherever it came from."""

from __future__ import annotations

from provision.domain.frozen import frozen


@frozen
class FoundEngine:
    """One engine as it calls itself. ``where`` is as in ``on port 11434``; ``ours`` says that this prefix serves it."""

    engine: str
    version: str | None
    where: str
    ours: bool = False
