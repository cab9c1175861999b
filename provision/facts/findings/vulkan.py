"""Vulkan, where a GPU has nothing better."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from posixpath import basename

from provision.domain.facts import Facts, Gpu, GpuState, Obstacle, VulkanDevice
from provision.domain.finding import Finding, Severity
from provision.facts.findings.builds import is_driver_old, usable_apis
from provision.facts.findings.fixes import fix_for
from provision.facts.findings.gpus import matters
from provision.facts.findings.wording import GIB, names, plain, quoted

# How the names of the manifests begin that belong to a kernel driver.
MANIFESTS = {
    "amdgpu": ("radeon_icd", "amd_icd"),
    "i915": ("intel_icd", "intel_hasvk"),
    "xe": ("intel_icd",),
    "nvidia": ("nvidia_icd",),
}
LEAST_BYTES = 4 * GIB  # a smaller card is no better than the processor
SOFTWARE, DUPLICATE = "software", "duplicate"
AMDVLK_MANIFEST, RADV_MANIFEST = "amd_icd", "radeon_icd"
# What keeps ROCm or level-zero from a GPU, and Vulkan not.
_NOT_IN_THE_WAY = (None, Obstacle.NO_API, Obstacle.NO_LIBRARY)


def find_vulkan(facts: Facts) -> Iterator[Finding]:
    """Yield the findings about Vulkan. A machine whose GPUs have something better has none but duplicates."""
    devices = facts.vulkan.devices
    waiting = [gpu for gpu in facts.gpus if _waits_for_vulkan(facts, gpu)]
    if devices and all(_is_software(device) for device in devices) and (waiting or not facts.gpus):
        yield _software_only(facts, devices, waiting)
    elif waiting and facts.vulkan.loader is None:
        evidence = f"{names(waiting)}: the Vulkan loader (libvulkan.so.1) is not installed, and nothing else can use it"
        yield Finding("VK-NO-LOADER", Severity.WARNING, evidence, fix_for(facts, "VK-NO-LOADER", waiting))
    else:
        yield from _no_driver(facts, waiting)
    yield from _duplicates(facts, devices or ())


def _no_driver(facts: Facts, waiting: Sequence[Gpu]) -> Iterator[Finding]:
    found = [gpu for gpu in waiting if facts.vulkan.devices == () or not _has_manifest(facts, gpu)]
    if found:
        count = len(facts.vulkan.drivers)
        told = f"{count} manifests of drivers, none that works for it" if count else "no manifest of a driver"
        evidence = f"{names(found)}: the Vulkan loader has no driver for it: {told}"
        yield Finding("VK-NO-ICD", Severity.WARNING, evidence, fix_for(facts, "VK-NO-ICD", found))


def _has_manifest(facts: Facts, gpu: Gpu) -> bool:
    starts = MANIFESTS.get(gpu.driver_name or "", ())
    return any(basename(path).startswith(starts) for path in facts.vulkan.drivers if starts)


def _waits_for_vulkan(facts: Facts, gpu: Gpu) -> bool:
    if gpu.masked or gpu.state is GpuState.PRESENT or gpu.partitioned or not matters(gpu):
        return False
    if gpu.vendor == "nvidia" and (gpu.obstacle is Obstacle.NO_LIBRARY or is_driver_old(facts, gpu)):
        return False  # what is told of its driver comes first
    if gpu.memory.kind == "dedicated" and (gpu.memory.total_bytes or LEAST_BYTES) < LEAST_BYTES:
        return False
    return gpu.driver_name in MANIFESTS and gpu.obstacle in _NOT_IN_THE_WAY and not usable_apis(facts, gpu)


def _is_software(device: VulkanDevice) -> bool:
    return device.kind == "cpu" or (device.dropped or "").startswith(SOFTWARE)


def _software_only(facts: Facts, devices: Sequence[VulkanDevice], waiting: Sequence[Gpu]) -> Finding:
    listed = ", ".join(plain(device.name or "a device without a name") for device in devices[:3])
    beside = f", and not {names(waiting)}" if waiting else ""
    evidence = f"Vulkan lists only {listed}, which is the processor{beside}"
    without = [gpu for gpu in waiting if not _has_manifest(facts, gpu)]
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
