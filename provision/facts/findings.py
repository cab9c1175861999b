"""What is worth telling about a machine, under codes that never change. A pure function of ``Facts``."""

from __future__ import annotations

from collections.abc import Iterator

from provision.domain.facts import Facts
from provision.domain.finding import Finding, Severity
from provision.facts.probing import TIMED_OUT

GIB = 1 << 30
MIN_FREE_BYTES = 2 * GIB
OLDEST_GLIBC = (2, 17)
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


def find(facts: Facts) -> tuple[Finding, ...]:
    """Return every finding that applies. What is not known leads to none."""
    rules = (_memory_limit, _cpu_limit, _musl, _old_glibc, _old_cpu, _full_disk, _wsl1, _timeouts)
    return tuple(finding for rule in rules for finding in rule(facts))


def _memory_limit(facts: Facts) -> Iterator[Finding]:
    limit, total = facts.memory.limit_bytes, facts.memory.total_bytes
    if limit is not None:
        whole = f" of {_gib(total)}" if total is not None else ""
        evidence = f"a control group limits memory to {_gib(limit)}{whole}"
        yield Finding("CGROUP-MEM", Severity.INFO, evidence, _MEMORY_FIXES.get(facts.os.container or "", _MEMORY_FIX))


def _cpu_limit(facts: Facts) -> Iterator[Finding]:
    usable, logical = facts.cpu.cores_usable, facts.cpu.cores_logical
    if usable is not None and logical is not None and usable < logical:
        evidence = f"{usable} of {logical} processors may be used, by affinity or by a control group"
        yield Finding("CGROUP-CPU", Severity.INFO, evidence, _CPU_FIXES.get(facts.os.container or "", _CPU_FIX))


def _musl(facts: Facts) -> Iterator[Finding]:
    if facts.os.libc.name == "musl":
        yield Finding(
            "LIBC-MUSL",
            Severity.WARNING,
            "the C library is musl; prebuilt engines need glibc 2.17 or newer",
            "Use a system or a container with glibc, for example: docker run -it debian:stable",
        )


def _old_glibc(facts: Facts) -> Iterator[Finding]:
    libc = facts.os.libc
    version = _numbers(libc.version)
    if libc.name == "glibc" and version and version < OLDEST_GLIBC:
        yield Finding(
            "LIBC-OLD",
            Severity.WARNING,
            f"glibc {libc.version} is older than 2.17, the oldest that prebuilt engines need",
            "Upgrade the distribution, or use a container with a newer one: docker run -it debian:stable",
        )


def _numbers(version: str | None) -> tuple[int, ...]:
    parts = (version or "").split(".")
    return tuple(map(int, parts)) if all(part.isdecimal() for part in parts) else ()


def _old_cpu(facts: Facts) -> Iterator[Finding]:
    missing = [name for name in X86_64_ISA if name not in facts.cpu.isa]
    if facts.os.arch == "x86_64" and facts.cpu.isa and missing:
        yield Finding(
            "CPU-NO-AVX2",
            Severity.WARNING,
            f"{facts.cpu.model or 'the processor'} lacks {', '.join(missing)}",
            "Use a processor with AVX2, such as Intel Core from 2013 or AMD from 2015. "
            "In a virtual machine, pass the host's processor through: qemu -cpu host",
        )


def _full_disk(facts: Facts) -> Iterator[Finding]:
    free = facts.disk.free_bytes
    if free is not None and free < MIN_FREE_BYTES:
        yield Finding(
            "DISK-LOW",
            Severity.WARNING,
            f"{_gib(free)} free at {facts.disk.path}, less than {_gib(MIN_FREE_BYTES)}",
            "Make room there, or choose another place: fabric --home DIR",
        )


def _wsl1(facts: Facts) -> Iterator[Finding]:
    if facts.os.wsl == 1:
        yield Finding(
            "WSL1",
            Severity.WARNING,
            f"Windows Subsystem for Linux 1, kernel {facts.os.kernel}: no GPU, slow files",
            "In PowerShell: wsl --set-version DISTRIBUTION 2",
        )


def _timeouts(facts: Facts) -> Iterator[Finding]:
    for probe in facts.probes:
        if probe.detail and probe.detail.startswith(TIMED_OUT):
            program = probe.detail.removeprefix(TIMED_OUT).partition(":")[0]
            yield Finding(
                "PROBE-TIMEOUT",
                Severity.WARNING,
                f"{probe.name} {probe.detail}",
                f"Run {program} by hand to see why it hangs, then try again.",
            )


def _gib(size_bytes: int) -> str:
    return f"{size_bytes / GIB:.1f} GiB"
