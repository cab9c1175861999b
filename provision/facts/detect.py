"""All probes of one machine, put together into ``Facts``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeAlias

from provision.domain.facts import Cpu, Disk, Facts, Libc, Network, OperatingSystem
from provision.facts import (
    cgroup,
    cpu,
    cpu_topology,
    disk,
    environment,
    immutable,
    libraries,
    memory,
    mounts,
    network,
    os_release,
    servers,
    services,
)
from provision.facts.findings.find import find
from provision.facts.gpu.gpu_env import read_gpu_env
from provision.facts.gpu.gpus import read_graphics
from provision.facts.package_manager import read_package_manager
from provision.facts.probing import Recorder
from provision.facts.tools import read_tools
from provision.host.machine import Machine

Mounts: TypeAlias = Sequence[mounts.Mount]


def detect(machine: Machine, prefix: str) -> Facts:
    """Return what ``machine`` is, with room measured at ``prefix``, findings, and a record of every probe.

    Never raises for what a machine holds or lacks: a fact that cannot be read is ``None``, and its probe says why.
    Runs no program on Linux without a GPU.
    """
    record = Recorder()
    on_mac = machine.platform.system == "Darwin"
    facts = _detect_darwin(machine, record) if on_mac else _detect_linux(machine, record, prefix)
    space = record.run("disk", f"free space at {prefix}", lambda: machine.space(prefix), None)
    facts = replace(
        facts,
        disk=replace(
            facts.disk,
            path=prefix,
            free_bytes=space.free_bytes if space else None,
            total_bytes=space.total_bytes if space else None,
        ),
        tools=record.run("tools", "PATH", lambda: read_tools(machine), {}),
        network=replace(facts.network, proxies=network.proxies(machine.env), no_proxy=network.no_proxy(machine.env)),
        gpu_env=read_gpu_env(machine.env),
        servers=record.run("servers", "the ports of model servers", lambda: servers.read_servers(machine), ()),
        probes=tuple(record.probes),
    )
    return replace(facts, findings=find(facts))


def _detect_linux(machine: Machine, record: Recorder, prefix: str) -> Facts:
    limits = record.run("cgroup", "/proc/self/cgroup", lambda: cgroup.read_limits(machine), cgroup.Limits())
    info = record.run("cpuinfo", "/proc/cpuinfo", lambda: cpu.read_cpuinfo(machine), cpu.CpuInfo())
    meminfo = record.run("meminfo", "/proc/meminfo", lambda: memory.read_meminfo(machine), memory.MemInfo())
    mounted = record.run("mounts", mounts.PATH, lambda: mounts.read_mounts(machine), tuple[mounts.Mount, ...]())
    system = _linux_system(machine, record, info, mounted)
    facts = Facts(
        os=system,
        cpu=_linux_cpu(machine, record, info, limits),
        memory=memory.describe_memory(
            meminfo,
            limits,
            record.run("address-space", "a limit (ulimit -v)", lambda: memory.read_address_space(machine), None),
        ),
        disk=_linux_disk(machine, record, prefix, mounted),
        libraries=record.run(
            "libraries",
            libraries.CONFIGURATION,
            lambda: libraries.read_libraries(machine, system.arch, system.libc.name, in_wsl=system.wsl == 2),
            {},
        ),
        network=Network(
            offline=record.run(
                "routes",
                f"{network.IPV4_PATH} and {network.IPV6_PATH}",
                lambda: network.read_offline(machine),
                None,
            )
        ),
    )
    graphics = read_graphics(machine, record, facts)
    return replace(facts, gpus=graphics.gpus, vulkan=graphics.vulkan, listed_devices=graphics.listed)


def _linux_cpu(machine: Machine, record: Recorder, info: cpu.CpuInfo, limits: cgroup.Limits) -> Cpu:
    processors = record.run(
        "processors",
        f"/proc/self/status and {cpu.ONLINE_PATH}",
        lambda: cpu.read_processors(machine),
        cpu.Processors(),
    )
    allowed = cpu.runnable(info, processors)
    fastest = record.run(
        "core-kinds",
        "the capacity of each kind of core",
        lambda: cpu_topology.read_fastest(machine, info, allowed),
        frozenset[int](),
    )
    nodes = record.run(
        "numa", " or ".join(cpu_topology.NODE_PATHS), lambda: cpu_topology.read_numa_nodes(machine), None
    )
    return cpu.describe_cpu(info, processors, limits, fastest, nodes)


def _linux_disk(machine: Machine, record: Recorder, prefix: str, mounted: Mounts) -> Disk:
    found = record.run(
        "filesystem",
        f"the mount that holds {prefix}",
        lambda: disk.read_filesystem(machine, prefix, mounted),
        disk.FileSystem(),
    )
    return Disk(prefix, None, found.filesystem, found.noexec, found.network, found.ram_backed)


def _linux_system(machine: Machine, record: Recorder, info: cpu.CpuInfo, mounted: Mounts) -> OperatingSystem:
    release = record.run(
        "os-release",
        " or ".join(os_release.PATHS),
        lambda: os_release.read_os_release(machine),
        os_release.OsRelease(),
    )
    around = record.run(
        "environment",
        "marker files",
        lambda: environment.read_environment(machine, info.isa),
        environment.Environment(),
    )
    fixed = record.run(
        "immutable",
        "a mount of / and /usr",
        lambda: immutable.read_immutable(machine, release, around.container, mounted),
        None,
    )
    user = record.run("services", "systemd", lambda: services.read_services(machine, around.init), services.Services())
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
        like=release.like,
        variant=release.variant,
        immutable=fixed,
        package_manager=record.run(
            "package-manager",
            "a package manager that may add to this system",
            lambda: read_package_manager(machine, release, around.container, fixed),
            None,
        ),
        vm=around.vm,
        user_services=user.user_services,
        linger=user.linger,
    )


def _detect_darwin(machine: Machine, record: Recorder) -> Facts:
    from provision.facts import darwin
    from provision.facts.gpu import apple

    values = record.run("sysctl", darwin.SYSCTL.argv[0], lambda: darwin.read_sysctl(machine), dict[str, str]())
    values |= record.run(
        "sysctl-optional", darwin.OPTIONAL.argv[0], lambda: darwin.read_optional(machine), dict[str, str]()
    )
    available = record.run("vm_stat", darwin.VM_STAT.argv[0], lambda: darwin.read_available(machine), None)
    platform = machine.platform
    facts = Facts(
        os=OperatingSystem(
            system=platform.system,
            distribution="macos",
            version=values.get("kern.osproductversion"),
            arch="arm64" if darwin.is_arm(values) else environment.normalise_arch(platform.system, platform.machine),
            kernel=platform.release,
            init=environment.read_init(machine),
            package_manager=darwin.read_package_manager(machine),
            vm=darwin.virtual_machine(values),
            translated=darwin.is_translated(values),
        ),
        cpu=darwin.describe_cpu(values),
        memory=darwin.describe_memory(values, available),
    )
    return replace(facts, gpus=apple.read_gpus(machine, record, facts, values))
