"""Room for the prefix."""

from __future__ import annotations

from provision.host.machine import Machine


def read_free_bytes(machine: Machine, prefix: str) -> int | None:
    """Return what this user may still write at ``prefix``, or where it will be."""
    return machine.free_bytes(prefix)
