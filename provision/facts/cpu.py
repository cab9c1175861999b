"""The processor on Linux: what it is, and how much of it this process may use."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from provision.domain.facts import Cpu
from provision.facts.arm_cores import CORES, IMPLEMENTERS
from provision.facts.cgroup import Limits
from provision.host.machine import Machine

ONLINE_PATH = "/sys/devices/system/cpu/online"
SMT_PATH = "/sys/devices/system/cpu/smt/active"
BOARD_PATH = "/proc/device-tree/model"
_MAX_PROCESSORS = 1 << 16
_ALLOWED = re.compile(r"^Cpus_allowed_list:\s*(\S*)$", re.MULTILINE)

Core = tuple[str, str]
Kind = tuple[int, int]


class CpuInfo(NamedTuple):
    """/proc/cpuinfo. ``cores`` maps each processor to its (package, core), where the kernel says so.

    ``kinds`` maps each Arm processor to its (implementer, part).
    """

    vendor: str | None = None
    model: str | None = None
    isa: tuple[str, ...] = ()
    cores: Mapping[int, Core | None] = {}
    kinds: Mapping[int, Kind] = {}


class Processors(NamedTuple):
    """Sets of processor numbers, ``None`` where not known: online in the machine, allowed for this process.

    ``smt`` says whether a core runs more than one of them.
    """

    online: frozenset[int] | None = None
    allowed: frozenset[int] | None = None
    smt: bool | None = None


def parse_cpuinfo(text: str) -> CpuInfo:
    """Parse /proc/cpuinfo of x86 and Arm. Raises ``ValueError`` where it lists no processor.

    The instruction set is that of the first processor, in the kernel's own names.
    """
    blocks = [block for block in map(_fields, text.split("\n\n")) if block]
    processors = [block for block in blocks if block.get("processor", "").isdecimal()]
    if not processors:
        raise ValueError("it lists no processor")
    first = processors[0]
    isa = first.get("flags") or first.get("Features") or ""
    return CpuInfo(
        vendor=first.get("vendor_id") or _arm_vendor(first),
        model=_model_name(first) or _arm_model(processors),
        isa=tuple(sorted(set(isa.lower().split()))),
        cores={int(block["processor"]): _core(block) for block in processors},
        kinds={int(block["processor"]): kind for block in processors if (kind := _arm_ids(block))},
    )


def _fields(block: str) -> dict[str, str]:
    pairs = (line.partition(":") for line in block.splitlines())
    return {name.strip(): value.strip() for name, colon, value in pairs if colon}


def _core(block: Mapping[str, str]) -> Core | None:
    package, core = block.get("physical id"), block.get("core id")
    return (package, core) if package and core else None


def _model_name(block: Mapping[str, str]) -> str | None:
    """Return the name with single spaces; a hypervisor may leave it empty or ``unknown``."""
    name = " ".join(block.get("model name", "").split())
    return None if name.lower() in ("", "unknown") else name


def _arm_ids(block: Mapping[str, str]) -> Kind | None:
    implementer, part = block.get("CPU implementer"), block.get("CPU part")
    return (int(implementer, 0), int(part, 0)) if implementer and part else None


def _arm_vendor(block: Mapping[str, str]) -> str | None:
    ids = _arm_ids(block)
    return IMPLEMENTERS.get(ids[0]) if ids else None


def _arm_model(blocks: Iterable[Mapping[str, str]]) -> str | None:
    """Name every kind of core, as there are processors with big and little ones; ``None`` if one has no name."""
    names = [CORES.get(ids) if (ids := _arm_ids(block)) else None for block in blocks]
    known = dict.fromkeys(name for name in names if name)
    return " + ".join(known) if known and None not in names else None


def parse_cpu_list(text: str) -> frozenset[int]:
    """Parse the kernel's list format, such as ``0-3,8``. Raises ``ValueError`` for an empty or absurd list."""
    numbers: set[int] = set()
    for span in text.strip().split(","):
        first, _, last = span.partition("-")
        start, end = int(first), int(last or first)
        if not 0 <= start <= end < _MAX_PROCESSORS:
            raise ValueError(f"no list of processors: {span!r}")
        numbers.update(range(start, end + 1))
    return frozenset(numbers)


def parse_allowed(status: str) -> frozenset[int] | None:
    """Return the processors that /proc/self/status allows; ``None`` where it does not say."""
    match = _ALLOWED.search(status)
    return parse_cpu_list(match[1]) if match else None


def read_cpuinfo(machine: Machine) -> CpuInfo | None:
    """Read /proc/cpuinfo; an Arm core without a name gets the name of its board."""
    text = machine.read_text("/proc/cpuinfo")
    if text is None:
        return None
    info = parse_cpuinfo(text)
    if info.model is not None:
        return info
    board = (machine.read_text(BOARD_PATH) or "").strip("\0 \n")
    return info._replace(model=board or None)


def read_processors(machine: Machine) -> Processors | None:
    """Read which processors there are, and which of them this process may use."""
    status, online = machine.read_text("/proc/self/status"), machine.read_text(ONLINE_PATH)
    if status is None and online is None:
        return None
    return Processors(
        online=None if online is None else parse_cpu_list(online),
        allowed=None if status is None else parse_allowed(status),
        smt={"0": False, "1": True}.get((machine.read_text(SMT_PATH) or "").strip()),
    )


def describe_cpu(
    info: CpuInfo,
    processors: Processors,
    limits: Limits,
    fastest: frozenset[int] = frozenset(),
    numa_nodes: int | None = None,
) -> Cpu:
    """Put together what was read.

    ``cores_logical`` counts the processors of the machine, ``cores_physical`` the cores behind those that this
    process may use. ``cores_usable`` is the smaller of the allowed processors and the quota, rounded up.
    ``fastest`` are those of the fastest kind, none where there is only one kind.
    """
    allowed = runnable(info, processors)
    return Cpu(
        vendor=info.vendor,
        model=info.model,
        cores_physical=count_cores(info, allowed, processors.smt),
        cores_logical=len(_online(info, processors)) or None,
        cores_usable=usable_cores(len(allowed), limits.cpus),
        isa=info.isa,
        cores_performance=count_cores(info, fastest, processors.smt),
        numa_nodes=numa_nodes,
    )


def _online(info: CpuInfo, processors: Processors) -> frozenset[int]:
    return processors.online or frozenset(info.cores)


def runnable(info: CpuInfo, processors: Processors) -> frozenset[int]:
    """Return the processors that this process may run on.

    Those that are allowed and not there are left out: a virtual machine may list some to be added later.
    """
    online = _online(info, processors)
    if processors.allowed is None:
        return online
    return processors.allowed & online or processors.allowed


def count_cores(info: CpuInfo, allowed: frozenset[int], smt: bool | None) -> int | None:
    """Count the cores behind ``allowed``; ``None`` where the kernel does not say which processors share one."""
    cores = {info.cores.get(number) for number in allowed}
    if cores and None not in cores:
        return len(cores)
    return len(allowed) or None if smt is False else None


def usable_cores(allowed: int, quota_cpus: float | None) -> int | None:
    """Return how many threads can run at once: at least 1, or ``None`` where nothing is known.

    A fraction of a quota is rounded up, as the thread that has it does run, if not all the time.
    """
    if not allowed:
        return None
    return allowed if quota_cpus is None else max(1, min(allowed, math.ceil(quota_cpus)))
