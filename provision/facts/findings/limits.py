"""What the machine gives this process: memory, processors, a place for files."""

from __future__ import annotations

from collections.abc import Iterator

from provision.domain.facts import Facts
from provision.domain.finding import Finding, Severity
from provision.facts.findings.wording import GIB, gib, plain, quoted

MIN_FREE_BYTES = 2 * GIB
X86_64_ISA = ("avx2", "bmi2", "f16c", "fma")

_MEMORY_FIXES = {
    "docker": "Start the container with more memory: docker run --memory 8g …, or docker update --memory 8g CONTAINER.",
    "podman": "Start the container with more memory: podman run --memory 8g …",
    "kubernetes": "Raise resources.limits.memory of the container in its pod spec.",
}
_CPU_FIXES = {
    "docker": "Start the container with more processors: docker run --cpus 4 …, or docker update --cpus 4 CONTAINER.",
    "podman": "Start the container with more processors: podman run --cpus 4 …",
    "kubernetes": "Raise resources.limits.cpu of the container in its pod spec.",
}
_MEMORY_FIX = "Raise the limit of the systemd unit or slice: systemctl set-property UNIT MemoryMax=8G MemoryHigh=8G"
_CPU_FIX = "Start it without taskset, or raise CPUQuota= and AllowedCPUs= of the systemd unit or slice."
_ELSEWHERE = "choose another place: fabric --home DIR"


def find_limits(facts: Facts) -> Iterator[Finding]:
    """Yield what is scarce, or hard to use."""
    for rule in (_memory_limit, _cpu_limit, _old_cpu, _full_disk, _unsuited_disk):
        yield from rule(facts)


def _memory_limit(facts: Facts) -> Iterator[Finding]:
    limit, total = facts.memory.limit_bytes, facts.memory.total_bytes
    if limit is not None:
        whole = f" of {gib(total)}" if total is not None else ""
        evidence = f"a control group limits memory to {gib(limit)}{whole}"
        yield Finding("CGROUP-MEM", Severity.INFO, evidence, _MEMORY_FIXES.get(facts.os.container or "", _MEMORY_FIX))


def _cpu_limit(facts: Facts) -> Iterator[Finding]:
    usable, logical = facts.cpu.cores_usable, facts.cpu.cores_logical
    if usable is not None and logical is not None and usable < logical:
        evidence = f"{usable} of {logical} processors may be used, by affinity or by a control group"
        yield Finding("CGROUP-CPU", Severity.INFO, evidence, _CPU_FIXES.get(facts.os.container or "", _CPU_FIX))


def _old_cpu(facts: Facts) -> Iterator[Finding]:
    """Rosetta shows fewer features than the processor beneath has, and is told by itself."""
    missing = [name for name in X86_64_ISA if name not in facts.cpu.isa]
    if facts.os.arch == "x86_64" and facts.cpu.isa and missing and not facts.os.translated:
        guest = "In a virtual machine, pass the host's processor through: qemu -cpu host"
        newer = "Use a processor with AVX2, such as Intel Core from 2013 or AMD from 2015."
        yield Finding(
            "CPU-NO-AVX2",
            Severity.WARNING,
            f"{plain(facts.cpu.model or 'the processor')} lacks {', '.join(missing)}",
            guest if facts.os.vm else f"{newer} {guest}",
        )


def _full_disk(facts: Facts) -> Iterator[Finding]:
    free = facts.disk.free_bytes
    if free is not None and free < MIN_FREE_BYTES:
        evidence = f"{gib(free)} free at {plain(facts.disk.path)}, less than {gib(MIN_FREE_BYTES)}"
        yield Finding("DISK-LOW", Severity.WARNING, evidence, f"Make room there, or {_ELSEWHERE}")


def _unsuited_disk(facts: Facts) -> Iterator[Finding]:
    disk = facts.disk
    place = f"{plain(disk.path)} is on {plain(disk.filesystem or 'a file system')}"
    if disk.noexec:
        mount = f'sudo mount -o remount,exec "$(findmnt -n -o TARGET --target {quoted(disk.path)})"'
        evidence = f"{place}, mounted with noexec: no engine can start there"
        yield Finding("DISK-NOEXEC", Severity.ERROR, evidence, f"{mount}, or {_ELSEWHERE}")
    if disk.network:
        evidence = f"{place}, which another machine keeps: models load slowly, and locks may not hold"
        yield Finding(
            "DISK-NETWORK-FS", Severity.WARNING, evidence, "Keep it on a disk of this machine: fabric --home DIR"
        )
    if disk.ram_backed:
        evidence = f"{place}, which is main memory: what is kept there takes memory, and is lost with a restart"
        yield Finding("DISK-RAM", Severity.WARNING, evidence, "Keep it on a disk: fabric --home DIR")
