"""What the machine gives this process: memory, processors, a place for files."""

from __future__ import annotations

from collections.abc import Iterator

from provision.domain.facts import Facts
from provision.domain.finding import Finding, Severity
from provision.domain.units import GIB, gib
from provision.facts.findings.fixes import fix_for
from provision.facts.findings.wording import plain, quoted

MIN_FREE_BYTES = 2 * GIB
# What the releases for Linux in profiles/engines/ are built for, here so that a healthy machine reads no data file.
X86_64_ISA = ("avx2", "bmi2", "f16c", "fma")


def find_limits(facts: Facts) -> Iterator[Finding]:
    """Yield what is scarce, or hard to use."""
    for rule in (_memory_limit, _cpu_limit, _old_cpu, _full_disk, _unsuited_disk):
        yield from rule(facts)


def _memory_limit(facts: Facts) -> Iterator[Finding]:
    limit, total = facts.memory.limit_bytes, facts.memory.total_bytes
    if limit is not None:
        whole = f" of {gib(total)}" if total is not None else ""
        evidence = f"a control group limits memory to {gib(limit)}{whole}"
        yield Finding("CGROUP-MEM", Severity.INFO, evidence, fix_for(facts, "CGROUP-MEM"))


def _cpu_limit(facts: Facts) -> Iterator[Finding]:
    usable, logical = facts.cpu.cores_usable, facts.cpu.cores_logical
    if usable is not None and logical is not None and usable < logical:
        evidence = f"{usable} of {logical} processors may be used, by affinity or by a control group"
        yield Finding("CGROUP-CPU", Severity.INFO, evidence, fix_for(facts, "CGROUP-CPU"))


def _old_cpu(facts: Facts) -> Iterator[Finding]:
    """Rosetta shows fewer features than the processor beneath has, and is told by itself."""
    missing = [name for name in X86_64_ISA if name not in facts.cpu.isa]
    if facts.os.arch == "x86_64" and facts.cpu.isa and missing and not facts.os.translated:
        evidence = f"{plain(facts.cpu.model or 'the processor')} lacks {', '.join(missing)}"
        fix = fix_for(facts, "CPU-NO-AVX2", tags=("guest",) if facts.os.vm else ())
        yield Finding("CPU-NO-AVX2", Severity.WARNING, evidence, fix)


def _full_disk(facts: Facts) -> Iterator[Finding]:
    free = facts.disk.free_bytes
    if free is not None and free < MIN_FREE_BYTES:
        evidence = f"{gib(free)} free at {plain(facts.disk.path)}, less than {gib(MIN_FREE_BYTES)}"
        yield Finding("DISK-LOW", Severity.WARNING, evidence, fix_for(facts, "DISK-LOW"))


def _unsuited_disk(facts: Facts) -> Iterator[Finding]:
    disk = facts.disk
    place = f"{plain(disk.path)} is on {plain(disk.filesystem or 'a file system')}"
    if disk.noexec:
        evidence = f"{place}, mounted with noexec: no engine can start there"
        fix = fix_for(facts, "DISK-NOEXEC", path=quoted(disk.path))
        yield Finding("DISK-NOEXEC", Severity.ERROR, evidence, fix)
    if disk.network:
        evidence = f"{place}, which another machine keeps: models load slowly, and locks may not hold"
        yield Finding("DISK-NETWORK-FS", Severity.WARNING, evidence, fix_for(facts, "DISK-NETWORK-FS"))
    if disk.ram_backed:
        evidence = f"{place}, which is main memory: what is kept there takes memory, and is lost with a restart"
        yield Finding("DISK-RAM", Severity.WARNING, evidence, fix_for(facts, "DISK-RAM"))
