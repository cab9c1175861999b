"""What suits a machine best, whether or not this version can install it, and what else was weighed."""

from __future__ import annotations

from dataclasses import dataclass

from provision.domain.model import Model
from provision.domain.selection import Fit


@dataclass(frozen=True)
class Alternative:
    """One way to serve that was weighed. ``reason`` says what is against it; empty where it only comes later."""

    profile: str
    backend: str
    acceleration: str
    reason: str


@dataclass(frozen=True)
class Recommendation:
    """The best way to serve on a machine.

    ``profile`` is the rule that matched, ``build`` the engine's build that it needs, ``devices`` the GPUs by name
    and address. ``installable`` says whether this version of fabric can bring it about; ``obstacle`` says why not.
    """

    profile: str
    backend: str
    acceleration: str
    build: str
    devices: tuple[str, ...]
    model: Model
    fit: Fit
    installable: bool
    why: tuple[str, ...]
    obstacle: str | None = None
    advice: str | None = None
