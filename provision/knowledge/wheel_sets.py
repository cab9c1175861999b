"""The wheels of an environment that were resolved together: ``profiles/wheels/<name>.yaml``."""

from __future__ import annotations

import msgspec

from provision.domain.artifacts import Wheel
from provision.knowledge.load import load


class WheelSet(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file: what was asked of the resolver, what was left out of its answer, and every wheel."""

    version: int
    checked: str
    system: str
    arch: str
    python: str
    glibc: str
    requirements: tuple[str, ...]
    excluded: tuple[str, ...]
    wheels: tuple[Wheel, ...]


def load_wheel_set(name: str) -> tuple[Wheel, ...]:
    """Return every wheel of a set. Raises ``InvalidInputError`` for a file that does not fit."""
    found: WheelSet = load(f"wheels/{name}", WheelSet)
    return found.wheels
