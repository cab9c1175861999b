"""GPUs of any vendor: set aside, busy, or stopped by something that has no name."""

from __future__ import annotations

from collections.abc import Iterator

from provision.domain.facts import Facts
from provision.domain.finding import Finding, Severity
from provision.domain.gpu import Gpu, GpuState, Obstacle
from provision.domain.units import gib
from provision.facts.findings.fixes import fix_for
from provision.facts.findings.wording import names, plain
from provision.facts.probing import TIMED_OUT

BUSY_SHARE = 4  # a GPU with less than one in so many bytes free
STRONG_APUS = ("gfx1151",)  # four memory channels: the only integrated GPU of AMD's that beats its processor cores
CARD_AND_CHIP_VENDORS = ("amd", "intel")
OF_NODES = (Obstacle.NO_DEVICE_NODES, Obstacle.NO_PERMISSION)

_NAMELESS = (Obstacle.UNKNOWN, Obstacle.TIMEOUT)  # a crash is told with the probes


def matters(gpu: Gpu) -> bool:
    """Tell whether models run better on ``gpu`` than on the processor beside it."""
    return gpu.integrated is not True or gpu.vendor not in CARD_AND_CHIP_VENDORS or gpu.arch in STRONG_APUS


def withheld(facts: Facts, gpu: Gpu) -> bool:
    """Tell whether a container was given another GPU of this vendor, and so not this one: that is meant."""
    others = (other for other in facts.gpus if other.vendor == gpu.vendor and other.state is GpuState.USABLE)
    return facts.os.container is not None and gpu.obstacle in OF_NODES and any(others)


def find_any_gpu(facts: Facts) -> Iterator[Finding]:
    """Yield the findings that are the same for every vendor."""
    for rule in (_passed_through, _unusable, _behind_windows, _busy):
        yield from rule(facts)


def _passed_through(facts: Facts) -> Iterator[Finding]:
    found = [gpu for gpu in facts.gpus if gpu.obstacle is Obstacle.PASSED_THROUGH]
    if found:
        holder = plain(found[0].driver_name or "another driver")
        evidence = f"{names(found)}: {holder} holds it for a virtual machine"
        yield Finding("GPU-PASSED-THROUGH", Severity.INFO, evidence, fix_for(facts, "GPU-PASSED-THROUGH", found))


def _unusable(facts: Facts) -> Iterator[Finding]:
    """A probe that hung is told by itself."""
    found = [gpu for gpu in facts.gpus if matters(gpu) and _stopped_namelessly(gpu) and not _is_told(gpu, facts)]
    if found:
        told = plain(found[0].detail or "") or "nothing tells why"
        evidence = f"{names(found)}: it cannot be used: {told}"
        yield Finding("GPU-UNUSABLE", Severity.WARNING, evidence, fix_for(facts, "GPU-UNUSABLE", found))


def _stopped_namelessly(gpu: Gpu) -> bool:
    return gpu.obstacle in _NAMELESS or (gpu.obstacle is Obstacle.LOST and gpu.vendor != "nvidia")


def _is_told(gpu: Gpu, facts: Facts) -> bool:
    if gpu.obstacle is not Obstacle.TIMEOUT:
        return False
    return gpu.vendor == "amd" or any((probe.detail or "").startswith(TIMED_OUT) for probe in facts.probes)


def _behind_windows(facts: Facts) -> Iterator[Finding]:
    """WSL hands NVIDIA's GPUs through for computing; the others only for drawing."""
    working = {gpu.vendor for gpu in facts.gpus if gpu.state is GpuState.USABLE}
    others = [vendor for vendor in CARD_AND_CHIP_VENDORS if vendor not in working]
    found = [gpu for gpu in facts.gpus if gpu.vendor in others and gpu.state is GpuState.PRESENT]
    if facts.os.wsl == 2 and found:
        evidence = f"{names(found)}: Windows has it, and WSL does not hand it through for computing"
        yield Finding("WSL-NO-COMPUTE", Severity.INFO, evidence, fix_for(facts, "WSL-NO-COMPUTE", found))


def _busy(facts: Facts) -> Iterator[Finding]:
    for gpu in facts.gpus:
        free, total = gpu.memory.free_bytes, gpu.memory.total_bytes
        if gpu.state is not GpuState.USABLE or gpu.memory.kind != "dedicated" or free is None or total is None:
            continue
        if free * BUSY_SHARE < total:
            evidence = f"{names([gpu])}: {gib(free)} of {gib(total)} are free; other programs hold the rest"
            yield Finding("GPU-BUSY", Severity.INFO, evidence, fix_for(facts, "GPU-BUSY", [gpu]))
