"""Limits that control groups set: version 1, version 2, and both at once.

A group's limit binds all its descendants, so every ancestor that can be seen is read.
Sources: the kernel's admin-guide/cgroup-v2 and admin-guide/cgroup-v1/memory, scheduler/sched-bwc, and
proc_pid_mountinfo(5).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from provision.host.machine import Machine

UNIFIED = ""
NO_LIMIT_BYTES = 1 << 60
_DEFAULT_PERIOD_US = 100_000
_MAX_PATH_CHARACTERS = 4096
_DEFAULT_POINTS = {UNIFIED: "/sys/fs/cgroup", "memory": "/sys/fs/cgroup/memory", "cpu": "/sys/fs/cgroup/cpu"}
_OCTAL_ESCAPE = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True)
class Mount:
    """A mounted hierarchy: ``root`` is the group that appears at ``point``; no ``controllers`` in version 2."""

    root: str
    point: str
    controllers: frozenset[str]


@dataclass(frozen=True)
class MemoryGroup:
    """A group with a memory limit. ``used_bytes`` leaves out the page cache that the kernel drops first."""

    directory: str
    limit_bytes: int
    used_bytes: int | None = None


@dataclass(frozen=True)
class Limits:
    """What binds this process: processors' worth of time (a fraction is usual), and every group with a memory limit."""

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
    """Return the cgroup mounts among those of /proc/self/mountinfo."""
    mounts = []
    for line in text.splitlines():
        place, separator, kind = line.partition(" - cgroup")
        if not separator:
            continue
        fields, type_fields = place.split(" "), kind.split(" ")
        version_2 = type_fields[0] == "2"
        controllers = frozenset() if version_2 else frozenset(type_fields[-1].split(","))
        mounts.append(Mount(_unescape(fields[3]), _unescape(fields[4]), controllers))
    return tuple(mounts)


def _unescape(path: str) -> str:
    return _OCTAL_ESCAPE.sub(lambda match: chr(int(match[1], 8)), path)


def directories(group: str, mounts: Sequence[Mount]) -> tuple[str, ...]:
    """Return where ``group`` and its ancestors appear, from the group up to the root of the mount.

    Among mounts of one hierarchy, the one that shows most ancestors counts. Where none holds the group, as in a
    container that sees the host's names, the roots of the mounts are all that is known.
    """
    holding = [mount for mount in mounts if _is_within(group, mount.root)]
    if not holding or len(group) > _MAX_PATH_CHARACTERS:
        return tuple(dict.fromkeys(mount.point for mount in mounts))
    widest = min(holding, key=lambda mount: len(mount.root))
    below = group.removeprefix(widest.root.rstrip("/")).strip("/")
    names = [name for name in below.split("/") if name]
    point = widest.point.rstrip("/")
    return tuple("/".join([point, *names[:depth]]) or "/" for depth in range(len(names), -1, -1))


def _is_within(group: str, root: str) -> bool:
    if ".." in group.split("/"):
        return False
    return root == "/" or group == root or group.startswith(root + "/")


def parse_bytes(text: str) -> int | None:
    """Return a limit in bytes; ``None`` for ``max``, a negative number, and version 1's way to say no limit."""
    text = text.strip()
    if text == "max":
        return None
    limit = int(text)
    return None if limit < 0 or limit >= NO_LIMIT_BYTES else limit


def parse_stat(text: str) -> dict[str, int]:
    """Return the counters of a memory.stat file, in bytes."""
    pairs = (line.split() for line in text.splitlines())
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2}


def parse_cpu_max(text: str) -> float | None:
    """Return the processors' worth of time in a cpu.max file, ``quota period`` in µs; ``None`` for no limit."""
    quota, _, period = text.strip().partition(" ")
    return None if quota == "max" else _share(int(quota), int(period or _DEFAULT_PERIOD_US))


def _share(quota_us: int, period_us: int) -> float | None:
    if period_us <= 0:
        raise ValueError(f"a period of {period_us} µs")
    return None if quota_us < 0 else quota_us / period_us


def read_limits(machine: Machine) -> Limits | None:
    """Read every limit that this process can see; ``None`` where the system has no control groups."""
    membership = machine.read_text("/proc/self/cgroup")
    mountinfo = machine.read_text("/proc/self/mountinfo")
    if membership is None:
        return None
    groups = parse_self_cgroup(membership)
    mounts = _default_mounts() if mountinfo is None else parse_mountinfo(mountinfo)
    shares = [*_unified_shares(machine, groups, mounts), *_v1_shares(machine, groups, mounts)]
    memory = [*_unified_memory(machine, groups, mounts), *_v1_memory(machine, groups, mounts)]
    return Limits(min(shares, default=None), tuple(memory))


def _default_mounts() -> tuple[Mount, ...]:
    return tuple(Mount("/", point, frozenset(filter(None, [name]))) for name, point in _DEFAULT_POINTS.items())


def _walk(controller: str, groups: Mapping[str, str], mounts: Sequence[Mount]) -> tuple[str, ...]:
    if controller not in groups:
        return ()
    hierarchy = [m for m in mounts if (controller in m.controllers if controller else not m.controllers)]
    return directories(groups[controller], hierarchy)


def _unified_shares(machine: Machine, groups: Mapping[str, str], mounts: Sequence[Mount]) -> Iterator[float]:
    for directory in _walk(UNIFIED, groups, mounts):
        text = machine.read_text(f"{directory}/cpu.max")
        share = parse_cpu_max(text) if text is not None else None
        if share is not None:
            yield share


def _v1_shares(machine: Machine, groups: Mapping[str, str], mounts: Sequence[Mount]) -> Iterator[float]:
    for directory in _walk("cpu", groups, mounts):
        quota = machine.read_text(f"{directory}/cpu.cfs_quota_us")
        period = machine.read_text(f"{directory}/cpu.cfs_period_us")
        share = None if quota is None or period is None else _share(int(quota), int(period))
        if share is not None:
            yield share


def _unified_memory(machine: Machine, groups: Mapping[str, str], mounts: Sequence[Mount]) -> Iterator[MemoryGroup]:
    """Above ``memory.high`` the kernel throttles a group until it stands still, so that counts as a limit too."""
    for directory in _walk(UNIFIED, groups, mounts):
        limit = _smallest(machine, f"{directory}/memory.max", f"{directory}/memory.high")
        if limit is not None:
            used = _used(machine, f"{directory}/memory.current", f"{directory}/memory.stat", "inactive_file")
            yield MemoryGroup(directory, limit, used)


def _v1_memory(machine: Machine, groups: Mapping[str, str], mounts: Sequence[Mount]) -> Iterator[MemoryGroup]:
    for directory in _walk("memory", groups, mounts):
        limit = _smallest(machine, f"{directory}/memory.limit_in_bytes")
        if limit is not None:
            stat = f"{directory}/memory.stat"
            used = _used(machine, f"{directory}/memory.usage_in_bytes", stat, "total_inactive_file")
            yield MemoryGroup(directory, limit, used)


def _smallest(machine: Machine, *paths: str) -> int | None:
    texts = [text for path in paths if (text := machine.read_text(path)) is not None]
    limits = [limit for text in texts if (limit := parse_bytes(text)) is not None]
    return min(limits, default=None)


def _used(machine: Machine, usage_path: str, stat_path: str, cache: str) -> int | None:
    usage = machine.read_text(usage_path)
    if usage is None:
        return None
    droppable = parse_stat(machine.read_text(stat_path) or "").get(cache, 0)
    return max(0, int(usage) - droppable)
