"""Facts as a person reads them: one section a topic, what is not known left out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, TypeAlias

from provision.cli import output
from provision.cli.output import Section, Span
from provision.domain.facts import Cpu, Disk, Facts, Network, OperatingSystem, Outcome
from provision.domain.fingerprint import RunningServer
from provision.domain.gpu import Gpu, GpuMemory, GpuState, ListedDevice, Vulkan, VulkanDevice

Row: TypeAlias = tuple[str, Sequence[Span]]

# What speeds up engines, in the order in which it came; the kernel lists a hundred more.
_NOTABLE_ISA = (
    "sse4_2 avx f16c fma bmi2 avx2 avx_vnni avx512f avx512_vnni avx512_bf16 avx512_fp16 amx_tile amx_int8 amx_bf16 "
    "asimd asimddp asimdhp i8mm bf16 sve sve2 sme sme2"
)
MAX_MODELS = 5
_STEPS = (GpuState.PRESENT, GpuState.DRIVER, GpuState.USABLE)


class Told(NamedTuple):
    """One row; without a text there is nothing to tell."""

    name: str
    text: str | None
    style: str | None = None


def show_facts(facts: Facts) -> None:
    """Print all sections."""
    output.sections([*fact_sections(facts)])


def fact_sections(facts: Facts) -> Iterator[Section]:
    """Yield the sections of a machine, from the system to its GPUs; last what could not be read."""
    yield Section("System", _rows(_system(facts.os)))
    yield Section("Processor", _rows(_processor(facts.cpu)))
    yield Section("Memory", _rows(_memory(facts)))
    yield Section("Disk", _rows(_disk(facts.disk)))
    yield Section("Network", _rows(_network(facts.network)))
    for gpu in facts.gpus:
        yield Section(_gpu_title(gpu), [*_gpu(gpu)])
    if not facts.gpus:
        yield Section("GPUs", _rows([Told("found", "none")]))
    yield Section("Vulkan", _rows(_vulkan(facts.vulkan)))
    yield Section("Listed by llama-server", _rows(_listed(facts.listed_devices)))
    yield Section("Listening", _rows(map(_server, facts.servers)))
    yield Section("Programs", _rows(Told(name, path) for name, path in facts.tools.items()))
    yield Section("Environment", _rows(Told(name, value or "(empty)") for name, value in facts.gpu_env.items()))
    failed = (probe for probe in facts.probes if probe.outcome is Outcome.FAILED)
    yield Section("Could not be read", _rows(Told(probe.name, probe.detail, output.WARN) for probe in failed))


def _rows(told: Iterable[Told]) -> list[Row]:
    return [(row.name, [(row.text, row.style)]) for row in told if row.text]


def _joined(*parts: str | None) -> str:
    return ", ".join(filter(None, parts))


def _when(known: bool | None, yes: str, no: str = "") -> str:
    return "" if known is None else yes if known else no


def _system(os: OperatingSystem) -> Iterator[Told]:
    name = " ".join(filter(None, (os.distribution or os.system, os.version, os.variant)))
    yield Told(
        "system", _joined(name, os.arch, _when(os.translated, "through Rosetta"), _when(os.immutable, "immutable"))
    )
    yield Told("kernel", os.kernel)
    yield Told("libc", " ".join(filter(None, (os.libc.name, os.libc.version))))
    wsl = f"WSL {os.wsl}" if os.wsl else None
    yield Told("inside", _joined(os.container and f"container ({os.container})", os.vm and f"VM ({os.vm})", wsl))
    services = _when(os.user_services, "user services", "no user services")
    yield Told("init", _joined(os.init, services, _when(os.linger, "lingering", "no lingering")))
    yield Told("packages", os.package_manager)


def _processor(cpu: Cpu) -> Iterator[Told]:
    yield Told("model", cpu.model or cpu.vendor)
    usable = None if cpu.cores_usable is None else f"{cpu.cores_usable} usable of {cpu.cores_logical or '?'}"
    physical = None if cpu.cores_physical is None else f"{cpu.cores_physical} physical"
    performance = None if cpu.cores_performance is None else f"{cpu.cores_performance} performance"
    nodes = f"{cpu.numa_nodes} NUMA nodes" if (cpu.numa_nodes or 0) > 1 else None
    yield Told("cores", _joined(usable, physical, performance, nodes))
    notable = [name for name in _NOTABLE_ISA.split() if name in cpu.isa]
    yield Told("features", " ".join(notable) if cpu.isa else None)


def _memory(facts: Facts) -> Iterator[Told]:
    memory = facts.memory
    if memory.total_bytes is not None or memory.available_bytes is not None:
        yield Told("available", output.gib_of(memory.available_bytes, memory.total_bytes))
    if memory.limit_bytes is not None:
        yield Told("limit", f"{output.gib(memory.limit_bytes)}, by a control group")
    if memory.address_space_bytes is not None:
        yield Told("mapped", f"at most {output.gib(memory.address_space_bytes)} by one process (ulimit -v)")


def _disk(disk: Disk) -> Iterator[Told]:
    yield Told("free", f"{output.gib_of(disk.free_bytes, disk.total_bytes)} at {disk.path}")
    yield Told("filesystem", disk.filesystem)
    programs = _when(disk.noexec, "programs cannot be started there (noexec)")
    place = _joined(_when(disk.network, "on another machine"), _when(disk.ram_backed, "in main memory"))
    yield Told("beware", _joined(programs, place), output.WARN)


def _network(network: Network) -> Iterator[Told]:
    yield Told("routes", _when(network.offline, "none: offline", "yes"), output.WARN if network.offline else None)
    yield Told("proxies", _joined(*(f"{scheme}: {address}" for scheme, address in network.proxies.items())))
    yield Told("no proxy", network.no_proxy)


def _gpu_title(gpu: Gpu) -> str:
    name = gpu.name or " ".join(filter(None, (gpu.vendor, gpu.device_id)))
    return f"GPU {_joined(name or 'unknown', _when(gpu.integrated, 'integrated'), gpu.pci)}"


def _gpu(gpu: Gpu) -> Iterator[Row]:
    yield "state", [*_climb(gpu)]
    if gpu.memory != GpuMemory():
        yield "memory", [(_joined(describe_memory(gpu.memory), _when(gpu.partitioned, "only by instance")), None)]
    if gpu.arch:
        yield "architecture", [(gpu.arch, None)]
    for instance in gpu.instances:
        told = _joined(instance.name, describe_memory(instance.memory), instance.uuid)
        yield "instance", [(told, None)]
    if gpu.partitioned and not gpu.instances:
        yield "instance", [("none, and nothing can use the whole", output.BAD)]
    if gpu.masked is not False:
        variable = "CUDA_VISIBLE_DEVICES" if gpu.vendor == "nvidia" else "an environment variable"
        told = "an environment variable hides it from engines" if gpu.masked else f"may be hidden by {variable}"
        yield "hidden", [(told, output.WARN)]
    if gpu.access_group:
        yield "group", [(gpu.access_group, None)]


def _climb(gpu: Gpu) -> Iterator[Span]:
    """How far it came, and what keeps it there: ``present ✓  driver ✓ nvidia 570  usable ✗ library mismatch: …``."""
    reached = _STEPS.index(gpu.state)
    told = {GpuState.DRIVER: _driver(gpu), GpuState.USABLE: _joined(*gpu.apis)}
    for number, step in enumerate(_STEPS):
        good = number <= reached
        yield f"{'  ' if number else ''}{step.value} ", None
        yield output.mark(good=good), output.GOOD if good else output.BAD
        if good and told.get(step):
            yield f" {told[step]}", output.DIM
        if not good:
            reason = gpu.obstacle.value.replace("-", " ") if gpu.obstacle else ""
            yield " " + ": ".join(filter(None, (reason, gpu.detail))), output.BAD
            return


def _driver(gpu: Gpu) -> str:
    cuda = f"CUDA {gpu.cuda}" if gpu.cuda else None
    return _joined(" ".join(filter(None, (gpu.driver_name, gpu.driver))), cuda)


def describe_memory(memory: GpuMemory) -> str:
    """Return how much is free, and whose memory it is where it is not the GPU's own."""
    if memory.total_bytes is None:
        amount = "size unknown" if memory.free_bytes is None else f"{output.gib(memory.free_bytes)} free"
    elif memory.free_bytes is None:
        amount = output.gib(memory.total_bytes)
    else:
        amount = f"{output.gib_of(memory.free_bytes, memory.total_bytes)} free"
    shared = f"shared with the processor ({memory.pool})" if memory.pool else "shared with the processor"
    return _joined(amount, shared if memory.kind == "unified" else None)


def _vulkan(vulkan: Vulkan) -> Iterator[Told]:
    yield Told("loader", vulkan.loader)
    yield Told("drivers", _joined(*vulkan.drivers))
    for device in vulkan.devices or ():
        yield Told(f"device {device.index}", _vulkan_device(device))


def _listed(devices: tuple[ListedDevice, ...] | None) -> Iterator[Told]:
    if devices == ():
        yield Told("devices", "none")
    for device in devices or ():
        memory = f"{output.gib_of(device.free_bytes, device.total_bytes)} free" if device.total_bytes else None
        yield Told(device.identifier, _joined(device.name, memory))


def _server(server: RunningServer) -> Told:
    what = " ".join(filter(None, (server.kind, server.version)))
    more = len(server.models) - MAX_MODELS
    models = [*server.models[:MAX_MODELS], *([f"{more} more"] if more > 0 else [])]
    return Told(f"port {server.port}", _joined(what, server.owner, _when(server.ours, "ours"), *models))


def _vulkan_device(device: VulkanDevice) -> str:
    driver = " ".join(filter(None, (device.driver, device.driver_version)))
    api = f"Vulkan {device.api_version}" if device.api_version else None
    return _joined(device.name, device.kind, driver, api, device.dropped and f"left out: {device.dropped}")
