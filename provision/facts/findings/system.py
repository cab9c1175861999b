"""The operating system: C library, Windows beneath, init, network, macOS, and probes that failed."""

from __future__ import annotations

from collections.abc import Iterator

from provision.domain.facts import Facts, GpuState, Libc, Obstacle
from provision.domain.finding import Finding, Severity
from provision.facts.findings.wording import SIGNAL, dotted, gib, names, numbers, plain
from provision.facts.probing import TIMED_OUT

OLDEST_GLIBC = (2, 17)
LIBCUDA = "libcuda.so.1"
# By default macOS gives a GPU between two thirds and 84 % of main memory: outside of these somebody chose a limit.
LEAST_SHARE, MOST_SHARE = 0.6, 0.9

_NEWER = "Upgrade the distribution, or use a container with a newer one: docker run -it debian:stable"
# What a person can run in place of fabric's own programs.
_BY_HAND = {"NVML": "nvidia-smi", "fabric-probe": "system_profiler SPDisplaysDataType"}


def find_system(facts: Facts) -> Iterator[Finding]:
    """Yield what the system around the programs is short of."""
    rules = (_musl, _old_glibc, _wsl1, _wsl_libraries, _rosetta, _wired_limit, _offline)
    for rule in (*rules, _no_user_bus, _no_linger, _proxies, _timeouts, _crashes):
        yield from rule(facts)


def _musl(facts: Facts) -> Iterator[Finding]:
    if facts.os.libc.name == "musl":
        yield Finding(
            "LIBC-MUSL",
            Severity.WARNING,
            "the C library is musl; prebuilt engines need glibc 2.17 or newer",
            "Use a system or a container with glibc, for example: docker run -it debian:stable",
        )


def _old_glibc(facts: Facts) -> Iterator[Finding]:
    version = numbers(facts.os.libc.version) if facts.os.libc.name == "glibc" else ()
    if version and version < OLDEST_GLIBC:
        yield _older(facts.os.libc, "2.17", "prebuilt engines need")
    elif version:
        yield from _old_for_gpu(facts, version)


def _old_for_gpu(facts: Facts, version: tuple[int, ...]) -> Iterator[Finding]:
    apis = tuple(api for gpu in facts.gpus if gpu.state is GpuState.USABLE for api in gpu.apis)
    if not apis:
        return
    from provision.facts.findings.builds import oldest_glibc

    floor = oldest_glibc(facts, apis)
    if version < floor:
        yield _older(facts.os.libc, dotted(floor), f"a build for {', '.join(sorted(set(apis)))} needs")


def _older(libc: Libc, floor: str, what: str) -> Finding:
    evidence = f"glibc {libc.version} is older than {floor}, the oldest that {what}"
    return Finding("LIBC-OLD", Severity.WARNING, evidence, _NEWER)


def _wsl1(facts: Facts) -> Iterator[Finding]:
    if facts.os.wsl == 1:
        yield Finding(
            "WSL1",
            Severity.WARNING,
            f"Windows Subsystem for Linux 1, kernel {plain(facts.os.kernel or 'unknown')}: no GPU, slow files",
            "In PowerShell: wsl --set-version DISTRIBUTION 2",
        )


def _wsl_libraries(facts: Facts) -> Iterator[Finding]:
    """Windows brings the driver's libraries along; a service finds them only through the loader's configuration."""
    gpus = [gpu for gpu in facts.gpus if gpu.vendor == "nvidia"]
    hidden = LIBCUDA in facts.libraries and facts.libraries[LIBCUDA] is None
    if facts.os.wsl == 2 and gpus and (hidden or any(gpu.obstacle is Obstacle.NO_LIBRARY for gpu in gpus)):
        yield Finding(
            "WSL-LIB-PATH",
            Severity.WARNING,
            f"{names(gpus)}: the loader does not find {LIBCUDA}, which WSL keeps in /usr/lib/wsl/lib",
            "echo /usr/lib/wsl/lib | sudo tee /etc/ld.so.conf.d/ld.wsl.conf && sudo ldconfig",
        )


def _rosetta(facts: Facts) -> Iterator[Finding]:
    if facts.os.translated:
        yield Finding(
            "APPLE-ROSETTA",
            Severity.WARNING,
            f"this process is translated by Rosetta: {plain(facts.cpu.model or 'an Apple processor')} runs x86-64 code",
            "Start again without translation: arch -arm64 /bin/zsh, then ./bootstrap.sh uninstall && ./bootstrap.sh",
        )


def _wired_limit(facts: Facts) -> Iterator[Finding]:
    main = facts.memory.total_bytes
    for gpu in facts.gpus:
        share = gpu.memory.total_bytes
        if gpu.memory.pool != "working-set" or share is None or not main or LEAST_SHARE < share / main < MOST_SHARE:
            continue
        much = share / main >= MOST_SHARE
        effect = f"macOS is left with {gib(max(0, main - share))}" if much else "models get less than by default"
        yield Finding(
            "APPLE-WIRED-LIMIT",
            Severity.WARNING if much else Severity.INFO,
            f"iogpu.wired_limit_mb lets the GPU use {gib(share)} of {gib(main)}: {effect}",
            "Back to the default: sudo sysctl iogpu.wired_limit_mb=0",
        )


def _offline(facts: Facts) -> Iterator[Finding]:
    if facts.network.offline:
        container = "Start the container with a network, without --network none."
        machine = "Connect this machine. Once everything is fetched, this works without: fabric up --offline"
        yield Finding(
            "NET-OFFLINE",
            Severity.WARNING,
            "there is no route to any network: nothing can be downloaded",
            container if facts.os.container else machine,
        )


def _no_user_bus(facts: Facts) -> Iterator[Finding]:
    if facts.os.init == "systemd" and facts.os.user_services is False and facts.os.container is None:
        yield Finding(
            "INIT-NO-USER-BUS",
            Severity.INFO,
            "systemd runs, and no service manager of this user answers, as after su, sudo or in cron",
            'Log in by itself (ssh, console), or: sudo loginctl enable-linger "$USER" && '
            "export XDG_RUNTIME_DIR=/run/user/$(id -u)",
        )


def _no_linger(facts: Facts) -> Iterator[Finding]:
    if facts.os.user_services and facts.os.linger is False:
        yield Finding(
            "INIT-NO-LINGER",
            Severity.INFO,
            "the services of this user end with the last login (lingering is off)",
            "loginctl enable-linger",
        )


def _proxies(facts: Facts) -> Iterator[Finding]:
    if facts.network.proxies and facts.os.init == "systemd" and facts.os.user_services:
        schemes = ", ".join(plain(scheme) for scheme in sorted(facts.network.proxies))
        yield Finding(
            "NET-PROXY-NOT-IN-SERVICE",
            Severity.INFO,
            f"this shell has proxies ({schemes}), and services of systemd do not inherit them",
            "systemctl --user import-environment $(env | grep -ioE '^(https?|all|no)_proxy')",
        )


def _timeouts(facts: Facts) -> Iterator[Finding]:
    """Two programs that ask the same driver hang for the same reason."""
    hanging: dict[str, list[str]] = {}
    for probe in facts.probes:
        if probe.detail and probe.detail.startswith(TIMED_OUT):
            program = plain(probe.detail.removeprefix(TIMED_OUT).partition(":")[0])
            hanging.setdefault(_BY_HAND.get(program, program), []).append(plain(f"{probe.name} {probe.detail}"))
    for program, told in hanging.items():
        fix = f"Run {program} by hand to see why it hangs, then try again."
        yield Finding("PROBE-TIMEOUT", Severity.WARNING, "; ".join(told), fix)


def _crashes(facts: Facts) -> Iterator[Finding]:
    """A vendor's library may kill the process that asks it; what it would have told stays unknown."""
    told = [(probe.name, probe.detail) for probe in facts.probes if SIGNAL in (probe.detail or "")]
    if not told:
        told = [(gpu.vendor or "a GPU", gpu.detail) for gpu in facts.gpus if gpu.obstacle is Obstacle.CRASHED]
    for name, detail in told:
        yield Finding(
            "PROBE-CRASHED",
            Severity.WARNING,
            f"{plain(name)}: {plain(detail or 'the program that asks the driver was killed')}",
            "Update or reinstall the driver that it asked; what the kernel says: sudo dmesg | tail",
        )
