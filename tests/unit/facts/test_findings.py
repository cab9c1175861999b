from __future__ import annotations

from dataclasses import replace

import pytest

from provision.domain.facts import Cpu, Disk, Facts, Libc, Memory, OperatingSystem, Outcome, Probe
from provision.domain.finding import Severity
from provision.facts.findings import MIN_FREE_BYTES, X86_64_ISA, find

GIB = 1 << 30
HEALTHY = Facts(
    os=OperatingSystem("Linux", "debian", "12", "x86_64", Libc("glibc", "2.36"), "6.1.0"),
    cpu=Cpu("GenuineIntel", "Test CPU", 4, 8, 8, X86_64_ISA),
    memory=Memory(32 * GIB, 24 * GIB),
    disk=Disk("/prefix", MIN_FREE_BYTES),
    probes=(Probe("cpuinfo", Outcome.OK, 0.1),),
)


def on(**os: object) -> Facts:
    return replace(HEALTHY, os=replace(HEALTHY.os, **os))  # type: ignore[arg-type]  # the tests name real fields


def test_a_healthy_machine_and_an_unknown_one_have_none() -> None:
    assert find(HEALTHY) == ()
    assert find(Facts()) == ()


@pytest.mark.parametrize(
    ("facts", "code", "severity", "evidence", "fix"),
    [
        (
            replace(HEALTHY, memory=Memory(32 * GIB, 1 * GIB, 2 * GIB)),
            "CGROUP-MEM",
            Severity.INFO,
            "a control group limits memory to 2.0 GiB of 32.0 GiB",
            "systemctl set-property",
        ),
        (
            replace(on(container="docker"), memory=Memory(None, None, 2 * GIB)),
            "CGROUP-MEM",
            Severity.INFO,
            "a control group limits memory to 2.0 GiB",
            "docker run --memory",
        ),
        (
            replace(HEALTHY, cpu=replace(HEALTHY.cpu, cores_usable=2)),
            "CGROUP-CPU",
            Severity.INFO,
            "2 of 8 processors",
            "taskset",
        ),
        (
            replace(on(container="kubernetes"), cpu=replace(HEALTHY.cpu, cores_usable=2)),
            "CGROUP-CPU",
            Severity.INFO,
            "2 of 8 processors",
            "resources.limits.cpu",
        ),
        (on(libc=Libc("musl")), "LIBC-MUSL", Severity.WARNING, "musl", "docker run"),
        (on(libc=Libc("glibc", "2.12")), "LIBC-OLD", Severity.WARNING, "glibc 2.12 is older than 2.17", "Upgrade"),
        (
            replace(HEALTHY, cpu=replace(HEALTHY.cpu, isa=("avx", "f16c"))),
            "CPU-NO-AVX2",
            Severity.WARNING,
            "Test CPU lacks avx2, bmi2, fma",
            "AVX2",
        ),
        (
            replace(HEALTHY, disk=Disk("/prefix", MIN_FREE_BYTES // 2)),
            "DISK-LOW",
            Severity.WARNING,
            "1.0 GiB free at /prefix, less than 2.0 GiB",
            "--home",
        ),
        (on(wsl=1, kernel="4.4.0-19041-Microsoft"), "WSL1", Severity.WARNING, "4.4.0-19041-Microsoft", "--set-version"),
        (
            replace(
                HEALTHY, probes=(Probe("vm_stat", Outcome.FAILED, 5000.0, "timed out: /usr/bin/vm_stat: no answer"),)
            ),
            "PROBE-TIMEOUT",
            Severity.WARNING,
            "vm_stat timed out",
            "Run /usr/bin/vm_stat by hand",
        ),
    ],
)
def test_one_thing_wrong_is_one_finding(facts: Facts, code: str, severity: Severity, evidence: str, fix: str) -> None:
    (finding,) = find(facts)
    assert (finding.code, finding.severity) == (code, severity)
    assert evidence in finding.evidence
    assert fix in finding.fix


@pytest.mark.parametrize(
    "facts",
    [
        on(libc=Libc("glibc", "2.17")),
        on(libc=Libc("glibc", "2.100")),
        on(libc=Libc("glibc", "2.x")),
        on(libc=Libc("glibc")),
        on(wsl=2),
        replace(on(arch="aarch64"), cpu=replace(HEALTHY.cpu, isa=("asimd",))),
        replace(HEALTHY, cpu=replace(HEALTHY.cpu, isa=())),
        replace(HEALTHY, cpu=replace(HEALTHY.cpu, cores_usable=None)),
        replace(HEALTHY, disk=Disk("/prefix", None)),
        replace(HEALTHY, probes=(Probe("cpuinfo", Outcome.FAILED, 0.1, "/proc/cpuinfo: it lists no processor"),)),
    ],
)
def test_what_is_fine_or_unknown_is_none(facts: Facts) -> None:
    assert find(facts) == ()
