"""Vulkan, where a GPU has nothing better."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from provision.domain.facts import Facts
from provision.domain.finding import Finding, Severity
from provision.domain.gpu import Gpu, GpuState, Obstacle, VulkanDevice
from provision.domain.units import GIB
from provision.facts.findings.builds import is_driver_old, usable_apis
from provision.facts.findings.fixes import fix_for
from provision.facts.findings.gpus import matters
from provision.facts.findings.wording import names, plain, quoted
from provision.facts.gpu.vulkan import DUPLICATE, SOFTWARE
from provision.facts.gpu.vulkan_drivers import BY_KERNEL_DRIVER, has_driver

LEAST_BYTES = 7 * GIB // 2  # as in profiles/hardware.yaml: a card sold with 4 GB reports somewhat less
AMDVLK_MANIFEST, RADV_MANIFEST = "amd_icd", "radeon_icd"
# What keeps ROCm or level-zero from a GPU, and Vulkan not.
_NOT_IN_THE_WAY = (None, Obstacle.NO_API, Obstacle.NO_LIBRARY)


def find_vulkan(facts: Facts) -> Iterator[Finding]:
    """Yield the findings about Vulkan. A machine whose GPUs have something better has none but duplicates."""
    devices = facts.vulkan.devices or ()
    found = without_vulkan(facts)
    if _lists_software_only(facts) and (found or not facts.gpus):
        yield _software_only(facts, devices, found)
    elif found and facts.vulkan.loader is None:
        evidence = f"{names(found)}: the Vulkan loader (libvulkan.so.1) is not installed, and nothing else can use it"
        yield Finding("VK-NO-LOADER", Severity.WARNING, evidence, fix_for(facts, "VK-NO-LOADER", found))
    elif found:
        count = len(facts.vulkan.drivers)
        told = f"{count} {'manifest' if count == 1 else 'manifests'}, none known to work" if count else "no manifest"
        evidence = f"{names(found)}: Vulkan has no driver for it ({told}), and nothing else can use it"
        yield Finding("VK-NO-ICD", Severity.WARNING, evidence, fix_for(facts, "VK-NO-ICD", found))
    yield from _duplicates(facts, devices)


def without_vulkan(facts: Facts) -> list[Gpu]:
    """Return the GPUs that have nothing better than Vulkan, and lack its loader or its driver."""
    waiting = [gpu for gpu in facts.gpus if _waits_for_vulkan(facts, gpu)]
    if facts.vulkan.loader is None or facts.vulkan.devices == () or _lists_software_only(facts):
        return waiting
    return [gpu for gpu in waiting if not has_driver(gpu.driver_name, facts.vulkan.drivers)]


def is_too_small(gpu: Gpu) -> bool:
    """Tell whether a card is known to have so little memory that the processor is no worse."""
    total = gpu.memory.total_bytes
    return gpu.memory.kind == "dedicated" and total is not None and total < LEAST_BYTES


def _lists_software_only(facts: Facts) -> bool:
    return bool(facts.vulkan.devices) and all(_is_software(device) for device in facts.vulkan.devices or ())


def _waits_for_vulkan(facts: Facts, gpu: Gpu) -> bool:
    if gpu.masked or gpu.state is GpuState.PRESENT or gpu.partitioned or not matters(gpu) or is_too_small(gpu):
        return False
    if gpu.vendor == "nvidia" and (gpu.obstacle is Obstacle.NO_LIBRARY or is_driver_old(facts, gpu)):
        return False  # what is told of its driver comes first
    return gpu.driver_name in BY_KERNEL_DRIVER and gpu.obstacle in _NOT_IN_THE_WAY and not usable_apis(facts, gpu)


def _is_software(device: VulkanDevice) -> bool:
    return device.kind == "cpu" or (device.dropped or "").startswith(SOFTWARE)


def _software_only(facts: Facts, devices: Sequence[VulkanDevice], waiting: Sequence[Gpu]) -> Finding:
    listed = ", ".join(plain(device.name or "a device without a name") for device in devices[:3])
    beside = f", and not {names(waiting)}" if waiting else ""
    evidence = f"Vulkan lists only {listed}, which is the processor{beside}"
    without = [gpu for gpu in waiting if not has_driver(gpu.driver_name, facts.vulkan.drivers)]
    code, tags = ("VK-NO-ICD", ()) if without else ("VK-SOFTWARE-ONLY", ("gpu",) if waiting else ())
    fix = fix_for(facts, code, without or waiting, tags)
    return Finding("VK-SOFTWARE-ONLY", Severity.WARNING if waiting else Severity.INFO, evidence, fix)


def _duplicates(facts: Facts, devices: Sequence[VulkanDevice]) -> Iterator[Finding]:
    found = [device for device in devices if (device.dropped or "").startswith(DUPLICATE)]
    if not found:
        return
    listed = ", ".join(
        f"{plain(device.name or 'a device')} ({plain(device.driver or 'unknown')})" for device in found[:3]
    )
    manifests = facts.vulkan.drivers
    radv = next((path for path in manifests if RADV_MANIFEST in path), None)
    tags = [tag for tag, holds in (("amdvlk", _has_amdvlk(manifests)), ("radv", radv)) if holds]
    fix = fix_for(facts, "VK-DUPLICATE", (), tags, manifest=quoted(radv or ""))
    yield Finding("VK-DUPLICATE", Severity.INFO, f"Vulkan lists a GPU twice, the second time as {listed}", fix)


def _has_amdvlk(manifests: Sequence[str]) -> bool:
    return any(AMDVLK_MANIFEST in path for path in manifests)
