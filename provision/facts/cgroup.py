"""Limits that control groups set: version 1, version 2, and both at once.

A group's limit binds all its descendants, so every ancestor that can be seen is read.
Sources: the kernel's admin-guide/cgroup-v2, admin-guide/cgroup-v1/memory and scheduler/sched-bwc;
proc_pid_mountinfo(5).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from provision.facts.mounts import unescape
from provision.host.machine import Machine

UNIFIED = ""
NO_LIMIT_BYTES = 1 << 60
_DEFAULT_PERIOD_US = 100_000
_MAX_PATH_CHARACTERS = 4096
_USUAL_POINTS = {UNIFIED: "/sys/fs/cgroup", "memory": "/sys/fs/cgroup/memory", "cpu": "/sys/fs/cgroup/cpu"}


# Named tuples here and in the other probes: making each data class would cost start-up a millisecond.
class Mount(NamedTuple):
    """A mounted hierarchy: ``root`` is the group that appears at ``point``; no ``controllers`` in version 2."""

    root: str
    point: str
    controllers: frozenset[str]


class MemoryFiles(NamedTuple):
    """How one version names its memory files. ``cache`` is the counter of pages that the kernel drops first.

    ``inherited`` is the counter that holds the smallest limit of all ancestors, also of those out of sight.
    """

    limits: tuple[str, ...]
    usage: str
    cache: str
    inherited: str | None


# Above memory.high the kernel throttles a group until it stands still, so that counts as a limit too.
MEMORY_V2 = MemoryFiles(("memory.max", "memory.high"), "memory.current", "inactive_file", None)
MEMORY_V1 = MemoryFiles(
    ("memory.limit_in_bytes",), "memory.usage_in_bytes", "total_inactive_file", "hierarchical_memory_limit"
)


class MemoryGroup(NamedTuple):
    """A group with a memory limit. ``used_bytes`` leaves out the page cache that the kernel drops first."""

    directory: str
    limit_bytes: int
    used_bytes: int | None = None


class Limits(NamedTuple):
    """What binds this process: processors' worth of time (often a fraction), and each group with a memory limit."""

    cpus: float | None = None
    memory: tuple[MemoryGroup, ...] = ()


def parse_self_cgroup(text: str) -> dict[str, str]:
    """Map each version 1 controller, and ``UNIFIED``, to this process's group in /proc/self/cgroup."""
    groups: dict[str, str] = {}
    for line in text.splitlines():
        number, controllers, path = line.split(":", 2)
        if number == "0" and not controllers:
            groups[UNIFIED] = path
        for controller in filter(None, controllers.split(",")):
            groups[controller] = path
    return groups


def parse_mountinfo(text: str) -> tuple[Mount, ...]:
    """Return the cgroup mounts among those of /proc/self/mountinfo; at one point only the last is visible."""
    mounts: dict[str, Mount] = {}
    for line in text.splitlines():
        place, separator, kind = line.partition(" - cgroup")
        if not separator:
            continue
        fields, options = place.split(" "), kind.rpartition(" ")[2]
        controllers = frozenset() if kind.startswith("2 ") else frozenset(options.split(","))
        point = unescape(fields[4])
        mounts[point] = Mount(unescape(fields[3]), point, controllers)
    return tuple(mounts.values())


def directories(group: str, mounts: Sequence[Mount]) -> tuple[str, ...]:
    """Return where ``group`` and its ancestors appear, from the group up to the root of the mount.

    Of several mounts of one hierarchy, the one that shows most ancestors counts. Where none holds the group, as
    in a container that is told the host's names, the root of the mount is all that is known.
    """
    holding = [mount for mount in mounts if _is_within(group, mount.root)]
    if not holding or len(group) > _MAX_PATH_CHARACTERS:
        return tuple(mount.point for mount in mounts[:1])
    widest = min(holding, key=lambda mount: len(mount.root))
    names = [name for name in group.removeprefix(widest.root.rstrip("/")).split("/") if name]
    point = widest.point.rstrip("/")
    return tuple("/".join([point, *names[:depth]]) or "/" for depth in range(len(names), -1, -1))


def _is_within(group: str, root: str) -> bool:
    if ".." in group.split("/"):
        return False
    return root in ("/", group) or group.startswith(root + "/")


def parse_bytes(text: str) -> int | None:
    """Return a limit in bytes; ``None`` for ``max``, a negative number, and version 1's way to say no limit."""
    text = text.strip()
    if text == "max":
        return None
    limit = int(text)
    return None if limit < 0 or limit >= NO_LIMIT_BYTES else limit


def parse_stat(text: str) -> dict[str, int]:
    """Return the counters of a memory.stat file; those of memory are in bytes."""
    pairs = (line.split() for line in text.splitlines())
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2}


def parse_cpu_max(text: str) -> float | None:
    """Return the processors' worth of time in a cpu.max file, ``quota period`` in µs; ``None`` for no limit."""
    quota, _, period = text.strip().partition(" ")
    return None if quota == "max" else share(int(quota), int(period or _DEFAULT_PERIOD_US))


def share(quota_us: int, period_us: int) -> float | None:
    """Return the processors' worth of time in ``quota_us`` of each ``period_us``; a negative quota is no limit."""
    if period_us <= 0:
        raise ValueError(f"a period of {period_us} µs")
    return None if quota_us < 0 else quota_us / period_us


def read_limits(machine: Machine) -> Limits | None:
    """Read every limit that this process can see; ``None`` where the system has no control groups."""
    membership = machine.read_text("/proc/self/cgroup")
    if membership is None:
        return None
    groups = parse_self_cgroup(membership)
    mountinfo = machine.read_text("/proc/self/mountinfo")
    mounts = _usual_mounts() if mountinfo is None else parse_mountinfo(mountinfo)

    def walk(controller: str) -> tuple[str, ...]:
        hierarchy = [m for m in mounts if (controller in m.controllers if controller else not m.controllers)]
        return directories(groups[controller], hierarchy) if controller in groups else ()

    shares = [*_shares_v2(machine, walk(UNIFIED)), *_shares_v1(machine, walk("cpu"))]
    memory = [*_memory(machine, walk(UNIFIED), MEMORY_V2), *_memory(machine, walk("memory"), MEMORY_V1)]
    return Limits(min(shares, default=None), tuple(memory))


def _usual_mounts() -> tuple[Mount, ...]:
    return tuple(Mount("/", point, frozenset(filter(None, [name]))) for name, point in _USUAL_POINTS.items())


def _shares_v2(machine: Machine, places: Sequence[str]) -> Iterator[float]:
    for place in places:
        text = machine.read_text(f"{place}/cpu.max")
        cpus = None if text is None else parse_cpu_max(text)
        if cpus is not None:
            yield cpus


def _shares_v1(machine: Machine, places: Sequence[str]) -> Iterator[float]:
    for place in places:
        quota = machine.read_text(f"{place}/cpu.cfs_quota_us")
        period = machine.read_text(f"{place}/cpu.cfs_period_us")
        cpus = None if quota is None or period is None else share(int(quota), int(period))
        if cpus is not None:
            yield cpus


def _memory(machine: Machine, places: Sequence[str], files: MemoryFiles) -> Iterator[MemoryGroup]:
    for place in places:
        texts = [machine.read_text(f"{place}/{name}") for name in files.limits]
        if all(text is None for text in texts):
            continue
        stat = parse_stat(machine.read_text(f"{place}/memory.stat") or "")
        if files.inherited in stat:
            texts.append(str(stat[files.inherited]))
        limits = [limit for text in texts if text is not None and (limit := parse_bytes(text)) is not None]
        if limits:
            usage = machine.read_text(f"{place}/{files.usage}")
            used = None if usage is None else max(0, int(usage) - stat.get(files.cache, 0))
            yield MemoryGroup(place, min(limits), used)
