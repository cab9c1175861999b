"""AMD: how far the driver got, and what ROCm makes of the GPU."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from provision.domain.facts import Facts
from provision.domain.finding import Finding, Severity
from provision.domain.gpu import Gpu, GpuState, Obstacle
from provision.domain.units import GIB, gib
from provision.facts.findings.builds import rocm_targets, usable_apis
from provision.facts.findings.fixes import fix_for, group_tags
from provision.facts.findings.gpus import matters, withheld
from provision.facts.findings.masks import hidden
from provision.facts.findings.vulkan import is_too_small, without_vulkan
from provision.facts.findings.wording import names, plain, quoted
from provision.facts.gpu import amd_mask, vulkan_mask
from provision.knowledge.versions import numbers

VENDOR = "amd"
MASKS = (amd_mask.RUNTIME, *amd_mask.HIP, vulkan_mask.VISIBLE)
OVERRIDE = "HSA_OVERRIDE_GFX_VERSION"
KFD = "/dev/kfd"
PAGES_IN_GIB = 1 << 18
LARGE_MEMORY_BYTES = 32 * GIB  # from here on half of main memory is worth doubling
RDNA_3_5 = "gfx115"
NOT_BOUND = (Obstacle.NO_DRIVER, Obstacle.NOT_LOADED)
# A GPU that its driver runs, whatever it can be used through; what stopped others comes first.
_RUNS = (None, Obstacle.NO_API, Obstacle.NO_LIBRARY)


def find_amd(facts: Facts) -> Iterator[Finding]:
    """Yield the findings about AMD's GPUs. On macOS there is no driver to look after."""
    gpus = [gpu for gpu in facts.gpus if gpu.vendor == VENDOR and not withheld(facts, gpu)]
    if not gpus or facts.os.system == "Darwin":
        return
    for rule in (_no_driver, _no_nodes, _no_permission, _old_driver, _unsupported, _legacy):
        yield from rule(facts, gpus)
    yield from hidden(facts, gpus, "AMD-VISIBLE-MASK", MASKS)
    for rule in (_small_neighbour, _override, _default_pool):
        yield from rule(facts, gpus)


def _no_driver(facts: Facts, gpus: Sequence[Gpu]) -> Iterator[Finding]:
    found = [gpu for gpu in gpus if gpu.obstacle in NOT_BOUND and matters(gpu)]
    if found:
        evidence = f"{names(found)}: the driver amdgpu does not run it{_said(found[0])}"
        yield Finding("AMD-DRIVER-MISSING", Severity.WARNING, evidence, fix_for(facts, "AMD-DRIVER-MISSING", found))


def _said(gpu: Gpu) -> str:
    return f" ({plain(gpu.detail)})" if gpu.detail else ""


def _no_nodes(facts: Facts, gpus: Sequence[Gpu]) -> Iterator[Finding]:
    found = [gpu for gpu in gpus if gpu.obstacle is Obstacle.NO_DEVICE_NODES and matters(gpu)]
    if found:
        evidence = f"{names(found)}: its device nodes are missing{_said(found[0])}"
        yield Finding("AMD-NO-DEVICE-NODES", Severity.WARNING, evidence, fix_for(facts, "AMD-NO-DEVICE-NODES", found))


def _no_permission(facts: Facts, gpus: Sequence[Gpu]) -> Iterator[Finding]:
    """Vulkan needs less than ROCm: a GPU that runs through it may still be kept from its better interface."""
    found = [gpu for gpu in gpus if _is_denied(gpu) and _would_help(facts, gpu)]
    if found:
        strong = any(matters(gpu) and not usable_apis(facts, gpu) for gpu in found)
        node = plain(found[0].detail or KFD) if found[0].obstacle else KFD
        belongs = f", which belongs to the group {plain(found[0].access_group)}" if found[0].access_group else ""
        evidence = f"{names(found)}: this user may not open {node}{belongs}"
        fix = fix_for(facts, "AMD-KFD-PERMISSION", found, group_tags(found))
        yield Finding("AMD-KFD-PERMISSION", Severity.WARNING if strong else Severity.INFO, evidence, fix)


def _is_denied(gpu: Gpu) -> bool:
    kept = gpu.access_group is not None and gpu.obstacle is None and "rocm" not in gpu.apis
    return gpu.obstacle is Obstacle.NO_PERMISSION or kept


def _would_help(facts: Facts, gpu: Gpu) -> bool:
    """Tell whether access would change anything: not for a small GPU beside a better one, nor for one without ROCm."""
    if not matters(gpu) and any(other.state is GpuState.USABLE and matters(other) for other in facts.gpus):
        return False
    return "vulkan" not in gpu.apis or gpu.arch is None or gpu.arch in rocm_targets(facts)


def _old_driver(facts: Facts, gpus: Sequence[Gpu]) -> Iterator[Finding]:
    for gpu in gpus:
        reason, floor = _old_module(gpu) or _old_kernel(facts, gpu) or ("", "")
        if not reason and gpu.obstacle is Obstacle.TIMEOUT:
            reason = "ROCm did not answer, which is what it does on a driver that is too old for it"
        if reason and matters(gpu):
            tags = ("kernel",) if floor and not _old_module(gpu) else ()
            fix = fix_for(facts, "AMD-DRIVER-OLD", [gpu], tags, floor=floor)
            yield Finding("AMD-DRIVER-OLD", Severity.WARNING, f"{names([gpu])}: {reason}", fix)
            return


def _old_module(gpu: Gpu) -> tuple[str, str] | None:
    """Only AMD's own packages number the driver; the kernel's has no version."""
    from provision.knowledge.drivers import load_drivers

    version, floor = numbers(gpu.driver), load_drivers().amd.module
    if gpu.driver_name != "amdgpu" or not version or version >= numbers(floor):
        return None
    return f"amdgpu {plain(gpu.driver or '')} is older than {floor}, the oldest that ROCm 7 works with", floor


def _old_kernel(facts: Facts, gpu: Gpu) -> tuple[str, str] | None:
    from provision.knowledge.drivers import load_drivers

    kernel = _kernel_numbers(facts.os.kernel)
    for known in load_drivers().amd.kernels:
        fixed = [_kernel_numbers(version) for version in (known.kernel, *known.patched)]
        if gpu.arch not in known.gfx or not kernel or gpu.driver or facts.os.wsl:
            continue
        if kernel < fixed[0] and not any(kernel[:3] == patched[:3] and kernel >= patched for patched in fixed[1:]):
            reason = f"ROCm on {gpu.arch} needs Linux {known.kernel} or newer, this is {plain(facts.os.kernel or '')}"
            return reason, known.kernel
    return None


def _kernel_numbers(release: str | None) -> tuple[int, ...]:
    """Return ``6.14.0-1018-oem`` as ``(6, 14, 0, 1018)``: the last is the build of the distribution."""
    version, _, build = (release or "").partition("-")
    return numbers(f"{version}.{build.partition('-')[0]}") or numbers(version)


def _unsupported(facts: Facts, gpus: Sequence[Gpu]) -> Iterator[Finding]:
    """Of a card that lacks Vulkan, which would be its way, that is told instead; of a small one nothing."""
    targets, told = rocm_targets(facts), without_vulkan(facts)
    cards = [gpu for gpu in gpus if gpu.integrated is not True and not gpu.masked and gpu.obstacle in _RUNS]
    cards = [gpu for gpu in cards if gpu.state is not GpuState.PRESENT and not is_too_small(gpu) and gpu not in told]
    found = [gpu for gpu in cards if gpu.arch and gpu.arch not in targets]
    if found and targets:
        by_vulkan = all("vulkan" in gpu.apis for gpu in found)
        beside = "" if by_vulkan else ", and Vulkan does not reach it"
        evidence = f"{names(found)}: no ROCm build has kernels for {plain(found[0].arch or '')}{beside}"
        fix = fix_for(facts, "AMD-GFX-UNSUPPORTED", found, ("vulkan",) if by_vulkan else ())
        yield Finding("AMD-GFX-UNSUPPORTED", Severity.INFO if by_vulkan else Severity.WARNING, evidence, fix)


def _legacy(facts: Facts, gpus: Sequence[Gpu]) -> Iterator[Finding]:
    found = [gpu for gpu in gpus if gpu.obstacle is Obstacle.LEGACY_DRIVER or gpu.driver_name == "radeon"]
    if found:
        evidence = f"{names(found)}: the old driver radeon is bound to it, which offers neither ROCm nor Vulkan"
        yield Finding("AMD-LEGACY-RADEON", Severity.INFO, evidence, fix_for(facts, "AMD-LEGACY-RADEON", found))


def _small_neighbour(facts: Facts, gpus: Sequence[Gpu]) -> Iterator[Finding]:
    """ROCm's libraries end a program that touches an integrated GPU which they hold no kernels for.

    Beside NVIDIA's card it is ROCm itself that should not be seen: engines take the machine for one of AMD's.
    """
    small = [gpu for gpu in gpus if gpu.integrated and "rocm" in gpu.apis and not gpu.masked and not matters(gpu)]
    cards = [gpu for gpu in facts.gpus if gpu.integrated is False and gpu.state is GpuState.USABLE and not gpu.masked]
    large = [gpu for gpu in cards if gpu.vendor == VENDOR and "rocm" in gpu.apis]
    if not small or not cards:
        return
    uuids = [quoted(gpu.uuid) for gpu in large if gpu.uuid]
    tags = ("uuid",) if len(uuids) == len(large) else ()
    fix = fix_for(facts, "AMD-IGPU-MASK", large, tags if large else ("alone",), uuid=",".join(uuids))
    evidence = f"{names(small)} is integrated, and ROCm sees it beside {names(large or cards)}"
    yield Finding("AMD-IGPU-MASK", Severity.INFO, evidence, fix)


def _override(facts: Facts, gpus: Sequence[Gpu]) -> Iterator[Finding]:
    """An override makes ROCm take a GPU for another: help where it has no kernels for it, harm where it has."""
    variables = sorted(name for name in facts.gpu_env if name.startswith(OVERRIDE))
    if not variables:
        return
    targets = rocm_targets(facts)
    asked = {_target(facts.gpu_env[name]) for name in variables}
    harmed = [gpu for gpu in gpus if gpu.arch in targets and gpu.arch not in asked]
    shown = ", ".join(f"{name}={plain(facts.gpu_env[name])}" for name in variables)
    real = ", ".join(plain(gpu.arch or "unknown") for gpu in gpus)
    fix = fix_for(facts, "AMD-OVERRIDE-SET", gpus, variables=" ".join(map(quoted, variables)))
    severity = Severity.WARNING if harmed else Severity.INFO
    yield Finding("AMD-OVERRIDE-SET", severity, f"{shown} is set, and the real target is {real}", fix)


def _target(version: str) -> str | None:
    parts = numbers(version)
    return f"gfx{parts[0]}{parts[1]:x}{parts[2]:x}" if len(parts) == 3 else None


def _default_pool(facts: Facts, gpus: Sequence[Gpu]) -> Iterator[Finding]:
    """By default the driver maps half of main memory; these processors are bought to give their GPU more."""
    main = facts.memory.total_bytes
    for gpu in gpus:
        pool = gpu.memory.total_bytes
        if gpu.memory.pool != "gtt" or pool is None or main is None or facts.os.container is not None:
            continue
        if (gpu.arch or "").startswith(RDNA_3_5) and main >= LARGE_MEMORY_BYTES and abs(2 * pool - main) * 50 < main:
            wanted = main * 3 // 4 // GIB
            evidence = f"{names([gpu])}: it may use {gib(pool)}, the driver's default of half of {gib(main)}"
            fix = fix_for(facts, "AMD-GTT-DEFAULT", [gpu], gib=wanted, pages=wanted * PAGES_IN_GIB)
            yield Finding("AMD-GTT-DEFAULT", Severity.INFO, evidence, fix)
