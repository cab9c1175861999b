"""The facts of a machine that was captured, as a directory or as the bundle of a bug report."""

from __future__ import annotations

from pathlib import Path

from provision.domain.facts import Facts
from provision.facts.detect import detect
from provision.host.bundle import opened
from provision.host.replay import ReplayMachine

PREFIX = "/fabric"  # where room is measured on a captured machine that does not say where it was


def read_replay(path: Path) -> Facts:
    """Return the facts of the machine that was captured into ``path``, found by the same code as on a real one.

    Raises ``InvalidInputError`` for what is no capture, or one of a newer format.
    """
    with opened(path) as directory:
        machine = ReplayMachine(directory)
        return detect(machine, machine.prefix or PREFIX)
