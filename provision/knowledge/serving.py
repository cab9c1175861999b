"""How a server is sized where the user leaves it open: ``profiles/serving.yaml``."""

from __future__ import annotations

import msgspec

from provision.knowledge.load import load


class Threads(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Processor threads: how many for each core, and how often one looks before it sleeps."""

    per_core: int
    spin_count: int


class Serving(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file. ``context`` is in tokens for each request; ``port`` is the preferred one."""

    version: int
    checked: str
    context: int
    port: int
    threads: Threads


def load_serving() -> Serving:
    """Return how a server is sized."""
    serving: Serving = load("serving", Serving)
    return serving
