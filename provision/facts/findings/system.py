"""The operating system: C library, Windows beneath, init, network, macOS, and probes that failed."""

from __future__ import annotations

from collections.abc import Iterator

from provision.domain.facts import Facts
from provision.domain.finding import Finding, Severity
from provision.domain.gpu import GpuState, Obstacle
from provision.domain.units import gib
from provision.facts.findings.fixes import fix_for
from provision.facts.findings.wording import SIGNAL, names, plain, quoted
from provision.facts.probing import TIMED_OUT
from provision.knowledge.versions import numbers, older

# What the releases for Linux in profiles/engines/ need, here so that a healthy machine reads no data file.
OLDEST_GLIBC = "2.17"
LIBCUDA = "libcuda.so.1"
# By default macOS gives a GPU between two thirds and 84 % of main memory: outside of these somebody chose a limit.
LEAST_SHARE, MOST_SHARE = 0.6, 0.9

# What a person can run in place of fabric's own programs.
_BY_HAND = {"NVML": "nvidia-smi", "fabric-probe": "system_profiler SPDisplaysDataType"}


def find_system(facts: Facts) -> Iterator[Finding]:
    """Yield what the system around the programs is short of."""
    rules = (_musl, _old_glibc, _wsl1, _wsl_libraries, _rosetta, _wired_limit, _offline)
    for rule in (*rules, _no_user_bus, _no_linger, _proxies, _timeouts, _crashes):
        yield from rule(facts)


def _told(facts: Facts, code: str, severity: Severity, evidence: str) -> Finding:
    return Finding(code, severity, evidence, fix_for(facts, code))


def _musl(facts: Facts) -> Iterator[Finding]:
    if facts.os.libc.name == "musl":
        evidence = f"the C library is musl; prebuilt engines need glibc {OLDEST_GLIBC} or newer"
        yield _told(facts, "LIBC-MUSL", Severity.WARNING, evidence)


def _old_glibc(facts: Facts) -> Iterator[Finding]:
    libc = facts.os.libc
    if libc.name != "glibc" or not numbers(libc.version):
        return
    floor, what = OLDEST_GLIBC, "prebuilt engines need"
    if not older(libc.version, floor):
        floor, what = _floor_for_gpus(facts)
    if older(libc.version, floor):
        evidence = f"glibc {libc.version} is older than {floor}, the oldest that {what}"
        yield _told(facts, "LIBC-OLD", Severity.WARNING, evidence)


def _floor_for_gpus(facts: Facts) -> tuple[str, str]:
    """Return the oldest glibc that builds for the GPUs here take, and who needs it; builds are read for GPUs only."""
    apis = sorted({api for gpu in facts.gpus if gpu.state is GpuState.USABLE for api in gpu.apis})
    if not apis:
        return OLDEST_GLIBC, ""
    from provision.facts.findings.builds import oldest_glibc

    return oldest_glibc(facts, apis) or OLDEST_GLIBC, f"a build for {', '.join(apis)} needs"


def _wsl1(facts: Facts) -> Iterator[Finding]:
    if facts.os.wsl == 1:
        kernel = plain(facts.os.kernel or "unknown")
        evidence = f"Windows Subsystem for Linux 1, kernel {kernel}: no GPU, slow files"
        yield _told(facts, "WSL1", Severity.WARNING, evidence)


def _wsl_libraries(facts: Facts) -> Iterator[Finding]:
    """Windows brings the driver's libraries along; a service finds them only through the loader's configuration."""
    gpus = [gpu for gpu in facts.gpus if gpu.vendor == "nvidia"]
    hidden = LIBCUDA in facts.libraries and facts.libraries[LIBCUDA] is None
    if facts.os.wsl == 2 and gpus and (hidden or any(gpu.obstacle is Obstacle.NO_LIBRARY for gpu in gpus)):
        evidence = f"{names(gpus)}: the loader does not find {LIBCUDA}, which WSL keeps in /usr/lib/wsl/lib"
        yield _told(facts, "WSL-LIB-PATH", Severity.WARNING, evidence)


def _rosetta(facts: Facts) -> Iterator[Finding]:
    if facts.os.translated:
        model = plain(facts.cpu.model or "an Apple processor")
        evidence = f"this process is translated by Rosetta: {model} runs x86-64 code"
        yield _told(facts, "APPLE-ROSETTA", Severity.WARNING, evidence)


def _wired_limit(facts: Facts) -> Iterator[Finding]:
    main = facts.memory.total_bytes
    for gpu in facts.gpus:
        share = gpu.memory.total_bytes
        if gpu.memory.pool != "working-set" or share is None or not main or LEAST_SHARE < share / main < MOST_SHARE:
            continue
        much = share / main >= MOST_SHARE
        effect = f"macOS is left with {gib(max(0, main - share))}" if much else "models get less than by default"
        evidence = f"iogpu.wired_limit_mb lets the GPU use {gib(share)} of {gib(main)}: {effect}"
        yield _told(facts, "APPLE-WIRED-LIMIT", Severity.WARNING if much else Severity.INFO, evidence)


def _offline(facts: Facts) -> Iterator[Finding]:
    if facts.network.offline:
        evidence = "there is no route to any network: nothing can be downloaded"
        yield _told(facts, "NET-OFFLINE", Severity.WARNING, evidence)


def _no_user_bus(facts: Facts) -> Iterator[Finding]:
    if facts.os.init == "systemd" and facts.os.user_services is False and facts.os.container is None:
        evidence = "systemd runs, and no service manager of this user answers, as after su, sudo or in cron"
        yield _told(facts, "INIT-NO-USER-BUS", Severity.INFO, evidence)


def _no_linger(facts: Facts) -> Iterator[Finding]:
    if facts.os.user_services and facts.os.linger is False:
        evidence = "the services of this user end with the last login (lingering is off)"
        yield _told(facts, "INIT-NO-LINGER", Severity.INFO, evidence)


def _proxies(facts: Facts) -> Iterator[Finding]:
    if facts.network.proxies and facts.os.init == "systemd" and facts.os.user_services:
        schemes = ", ".join(plain(scheme) for scheme in sorted(facts.network.proxies))
        evidence = f"this shell has proxies ({schemes}), and services of systemd do not inherit them"
        yield _told(facts, "NET-PROXY-NOT-IN-SERVICE", Severity.INFO, evidence)


def _timeouts(facts: Facts) -> Iterator[Finding]:
    """Two programs that ask the same driver hang for the same reason."""
    hanging: dict[str, list[str]] = {}
    for probe in facts.probes:
        if probe.detail and probe.detail.startswith(TIMED_OUT):
            program = plain(probe.detail.removeprefix(TIMED_OUT).partition(":")[0])
            by_hand = _BY_HAND.get(program) or (quoted(program) if program else "")
            hanging.setdefault(by_hand, []).append(plain(f"{probe.name} {probe.detail}"))
    for by_hand, told in hanging.items():
        fix = fix_for(facts, "PROBE-TIMEOUT", tags=("program",) if by_hand else (), program=by_hand)
        yield Finding("PROBE-TIMEOUT", Severity.WARNING, "; ".join(told), fix)


def _crashes(facts: Facts) -> Iterator[Finding]:
    """A vendor's library may kill the process that asks it; what it would have told stays unknown."""
    told = [(probe.name, probe.detail) for probe in facts.probes if SIGNAL in (probe.detail or "")]
    if not told:
        told = [(gpu.vendor or "a GPU", gpu.detail) for gpu in facts.gpus if gpu.obstacle is Obstacle.CRASHED]
    for name, detail in told:
        evidence = f"{plain(name)}: {plain(detail or 'the program that asks the driver was killed')}"
        yield _told(facts, "PROBE-CRASHED", Severity.WARNING, evidence)
