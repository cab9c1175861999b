"""How much processor time other processes took while something was measured.

The machine's own account (``/proc/stat`` on Linux) less that of the processes that were meant to run. Time
that the hypervisor gave to other machines (steal) counts as foreign: it was as little ours.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from provision.domain.frozen import frozen

ROUNDING_S = 0.1  # accounts are kept in clock ticks, of 10 ms as a rule, for each process and processor
_BUSY = ("user", "nice", "system", "steal")
_OWN = ("user", "system", "children_user", "children_system")


@frozen
class CpuSnapshot:
    """Processor seconds since boot: of the whole machine, and of each process with its ended children."""

    busy_s: float
    own_s: Mapping[int, float]
    cores: int


def snapshot(pids: Iterable[int]) -> CpuSnapshot | None:
    """Read the accounts of the machine, of ``pids`` and of this process; ``None`` where they cannot be read."""
    import os

    import psutil

    try:
        machine, cores = psutil.cpu_times(), psutil.cpu_count()
    except (OSError, psutil.Error, RuntimeError):
        return None
    if not cores:
        return None
    own = {pid: seconds for pid in {os.getpid(), *pids} if (seconds := _process_s(pid)) is not None}
    return CpuSnapshot(_sum(machine, _BUSY), own, cores)


def foreign_seconds(before: CpuSnapshot | None, after: CpuSnapshot | None) -> float | None:
    """Return the processor seconds that others took between two snapshots; ``None`` where that is not known.

    A process that is new in ``after`` counts from zero; the account of one that has ended went to its parent.
    A machine that reports no time at all while its processes report some has no account worth reading.
    """
    if before is None or after is None:
        return None
    busy_s = after.busy_s - before.busy_s
    own_s = sum(after.own_s.values()) - sum(before.own_s.values())
    if busy_s <= 0.0 and own_s > ROUNDING_S:
        return None
    return max(0.0, busy_s - own_s)


def foreign_share(before: CpuSnapshot | None, after: CpuSnapshot | None, duration_s: float) -> float | None:
    """Return what others took as a share, 0 to 1, of all the machine's processor time in ``duration_s``."""
    foreign_s = foreign_seconds(before, after)
    if foreign_s is None or after is None or duration_s <= 0:
        return None
    return min(1.0, foreign_s / (duration_s * after.cores))


def _process_s(pid: int) -> float | None:
    import psutil

    try:
        return _sum(psutil.Process(pid).cpu_times(), _OWN)
    except psutil.Error:
        return None


def _sum(times: Any, names: Iterable[str]) -> float:
    """Add the named fields; systems differ in which they have."""
    return float(sum(getattr(times, name, 0.0) for name in names))
