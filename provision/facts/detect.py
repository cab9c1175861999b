"""All probes of one machine, put together into ``Facts``."""

from __future__ import annotations

from dataclasses import replace

from provision.domain.facts import Disk, Facts, Libc, OperatingSystem
from provision.facts import cgroup, cpu, disk, environment, libraries, memory, os_release
from provision.facts.findings import find
from provision.facts.probing import Recorder
from provision.host.machine import Machine


def detect(machine: Machine, prefix: str) -> Facts:
    """Return what ``machine`` is, with room measured at ``prefix``, findings, and a record of every probe.

    Never raises for what a machine holds or lacks: a fact that cannot be read is ``None``, and its probe says why.
    Runs no program on Linux.
    """
    record = Recorder()
    gather = _detect_darwin if machine.platform.system == "Darwin" else _detect_linux
    facts = gather(machine, record)
    free = record.run("disk", f"free space at {prefix}", lambda: disk.read_free_bytes(machine, prefix), None)
    facts = replace(facts, disk=Disk(prefix, free), probes=tuple(record.probes))
    return replace(facts, findings=find(facts))


def _detect_linux(machine: Machine, record: Recorder) -> Facts:
    limits = record.run("cgroup", "/proc/self/cgroup", lambda: cgroup.read_limits(machine), cgroup.Limits())
    info = record.run("cpuinfo", "/proc/cpuinfo", lambda: cpu.read_cpuinfo(machine), cpu.CpuInfo())
    processors = record.run(
        "processors",
        f"/proc/self/status and {cpu.ONLINE_PATH}",
        lambda: cpu.read_processors(machine),
        cpu.Processors(),
    )
    meminfo = record.run("meminfo", "/proc/meminfo", lambda: memory.read_meminfo(machine), memory.MemInfo())
    system = _linux_system(machine, record)
    return Facts(
        os=system,
        cpu=cpu.describe_cpu(info, processors, limits),
        memory=memory.describe_memory(meminfo, limits),
        libraries=record.run(
            "libraries",
            libraries.CONFIGURATION,
            lambda: libraries.read_libraries(machine, system.arch, system.libc.name),
            {},
        ),
    )


def _linux_system(machine: Machine, record: Recorder) -> OperatingSystem:
    release = record.run(
        "os-release",
        " or ".join(os_release.PATHS),
        lambda: os_release.read_os_release(machine),
        os_release.OsRelease(),
    )
    around = record.run(
        "environment", "marker files", lambda: environment.read_environment(machine), environment.Environment()
    )
    platform = machine.platform
    return OperatingSystem(
        system=platform.system or None,
        distribution=release.distribution,
        version=release.version_id,
        arch=environment.normalise_arch(platform.system, platform.machine),
        libc=record.run("libc", "the C library and /lib", lambda: environment.read_libc(machine), Libc()),
        kernel=around.kernel,
        container=around.container,
        wsl=around.wsl,
        init=around.init,
    )


def _detect_darwin(machine: Machine, record: Recorder) -> Facts:
    from provision.facts import darwin

    values = record.run("sysctl", darwin.SYSCTL.argv[0], lambda: darwin.read_sysctl(machine), dict[str, str]())
    available = record.run("vm_stat", darwin.VM_STAT.argv[0], lambda: darwin.read_available(machine), None)
    platform = machine.platform
    return Facts(
        os=OperatingSystem(
            system=platform.system,
            distribution="macos",
            version=values.get("kern.osproductversion"),
            arch="arm64" if darwin.is_arm(values) else environment.normalise_arch(platform.system, platform.machine),
            kernel=platform.release,
            init=environment.read_init(machine),
        ),
        cpu=darwin.describe_cpu(values),
        memory=darwin.describe_memory(values, available),
    )
