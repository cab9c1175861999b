"""Whether there is room for what a plan brings. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from provision.domain.facts import Disk
from provision.domain.finding import Finding, Severity
from provision.domain.plan import Plan
from provision.domain.units import MIB


def lack_of_room(plan: Plan, disk: Disk) -> Iterator[Finding]:
    """Yield the finding that the disk is too small for ``plan``, where that is known."""
    needed = sum(change.disk_bytes for change in plan.changes)
    if disk.free_bytes is not None and disk.free_bytes < needed:
        yield Finding(
            "DISK-LOW",
            Severity.ERROR,
            f"the plan takes {needed / MIB:.0f} MiB at {disk.path}, and {disk.free_bytes / MIB:.0f} MiB are free",
            "# Make room there, or choose another place with --home DIR.",
        )
