"""NVIDIA: how far the driver got, and what builds ask of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from provision.domain.facts import Facts
from provision.domain.finding import Finding, Severity
from provision.domain.gpu import Gpu, Obstacle
from provision.facts.findings.builds import is_below_capability, is_driver_old, oldest_capability, oldest_driver
from provision.facts.findings.fixes import fix_for, group_tags
from provision.facts.findings.gpus import withheld
from provision.facts.findings.masks import ambiguous, hidden
from provision.facts.findings.wording import names, plain
from provision.facts.gpu import nvidia_mask, vulkan_mask
from provision.facts.gpu.rungs import is_nouveau
from provision.knowledge.versions import numbers, older

VENDOR = "nvidia"
MASKS = (nvidia_mask.VISIBLE, nvidia_mask.RUNTIME, vulkan_mask.VISIBLE)
UVM_NODE = "/dev/nvidia-uvm"

# What stopped a GPU, the code for it, and what that means; the probe's own words are added.
_STOPPED = (
    (Obstacle.NO_DRIVER, "NV-DRIVER-MISSING", "no driver is bound to it"),
    (Obstacle.NOT_LOADED, "NV-NOT-LOADED", "its driver does not run"),
    (Obstacle.LIBRARY_MISMATCH, "NV-LIB-MISMATCH", "the kernel module and the libraries are of different versions"),
    (Obstacle.NO_LIBRARY, "NV-LIB-MISSING", "the libraries of its driver are not found"),
    (Obstacle.NO_DEVICE_NODES, "NV-NO-DEVICE-NODES", "its device nodes are missing"),
    (Obstacle.NO_PERMISSION, "NV-PERMISSION", "this user may not open its device nodes"),
    (Obstacle.LOST, "NV-GPU-LOST", "it does not answer any more"),
)


def find_nvidia(facts: Facts) -> Iterator[Finding]:
    """Yield the findings about NVIDIA's GPUs."""
    gpus = [gpu for gpu in facts.gpus if gpu.vendor == VENDOR and not withheld(facts, gpu)]
    yield from _stopped(facts, gpus)
    for rule in (_nouveau, _old_driver, _old_gpu, _no_uvm, _no_instance):
        yield from rule(facts, gpus)
    yield from hidden(facts, gpus, "NV-VISIBLE-MASK", MASKS)
    yield from ambiguous(facts, gpus, "NV-VISIBLE-MASK", nvidia_mask.VISIBLE)


def _stopped(facts: Facts, gpus: Sequence[Gpu]) -> Iterator[Finding]:
    for obstacle, code, meaning in _STOPPED:
        found = [gpu for gpu in gpus if gpu.obstacle is obstacle and not _is_nouveau(gpu)]
        if found:
            fix = fix_for(facts, code, found, _tags(found))
            yield Finding(code, Severity.WARNING, f"{names(found)}: {meaning}{_said(found)}", fix)


def _said(gpus: Sequence[Gpu]) -> str:
    """Return the driver's version and the probe's words, where there are any."""
    first = gpus[0]
    known = first.driver is not None and first.driver not in (first.detail or "")
    driver = f"driver {plain(first.driver or '')}" if known else ""
    told = "; ".join(filter(None, (driver, plain(first.detail or ""))))
    return f" ({told})" if told else ""


def _tags(gpus: Sequence[Gpu]) -> tuple[str, ...]:
    from provision.knowledge.drivers import load_drivers

    number = _device_number(gpus[0])
    generations = (known for known in load_drivers().nvidia.generations if known.holds(gpus[0].arch, number))
    return (*(known.name for known in generations), *group_tags(gpus))


def _device_number(gpu: Gpu) -> int | None:
    number = (gpu.device_id or "").rpartition(":")[2]
    try:
        return int(number, 16) if len(number) == 4 else None
    except ValueError:
        return None


def _is_nouveau(gpu: Gpu) -> bool:
    return gpu.obstacle is Obstacle.NOUVEAU or is_nouveau(gpu.driver_name)


def _nouveau(facts: Facts, gpus: Sequence[Gpu]) -> Iterator[Finding]:
    found = [gpu for gpu in gpus if _is_nouveau(gpu)]
    if found:
        name = plain(found[0].driver_name or "nouveau")
        works = "Vulkan only, slower" if all("vulkan" in gpu.apis for gpu in found) else "no CUDA"
        evidence = f"{names(found)}: the open driver {name} is bound to it: {works}"
        yield Finding("NV-NOUVEAU", Severity.WARNING, evidence, fix_for(facts, "NV-NOUVEAU", found, _tags(found)))


def _old_driver(facts: Facts, gpus: Sequence[Gpu]) -> Iterator[Finding]:
    found = [gpu for gpu in gpus if _runs(gpu) and is_driver_old(facts, gpu) and not is_below_capability(facts, gpu)]
    if not found:
        return
    worst = max(found, key=lambda gpu: numbers(oldest_driver(facts, gpu)))
    floor = oldest_driver(facts, worst)
    of_which = f"for compute capability {plain(worst.arch)}" if worst.arch and numbers(worst.arch) else "at all"
    evidence = (
        f"{names(found)}: driver {plain(worst.driver or '')} is older than {floor}, the oldest that a CUDA build "
        f"accepts {of_which}{_last_branch(worst)}"
    )
    fix = fix_for(facts, "NV-DRIVER-OLD", [worst], _tags([worst]), floor=floor)
    yield Finding("NV-DRIVER-OLD", Severity.WARNING, evidence, fix)


def _last_branch(gpu: Gpu) -> str:
    from provision.knowledge.drivers import load_drivers

    branches = load_drivers().nvidia.last_branches
    last = next((known.branch for known in branches if older(gpu.arch, known.below)), None)
    return f"; R{last} is the last branch for this GPU" if last is not None else ""


def _runs(gpu: Gpu) -> bool:
    """Tell whether NVIDIA's driver runs: what stopped others is told by itself."""
    return not _is_nouveau(gpu) and gpu.obstacle not in (Obstacle.NO_DRIVER, Obstacle.PASSED_THROUGH)


def _old_gpu(facts: Facts, gpus: Sequence[Gpu]) -> Iterator[Finding]:
    found = [gpu for gpu in gpus if is_below_capability(facts, gpu)]
    if found:
        floor, capability = oldest_capability(facts), plain(found[0].arch or "")
        evidence = (
            f"{names(found)}: compute capability {capability} is below {floor}, the lowest of all CUDA builds"
            f"{_last_branch(found[0])}"
        )
        fix = fix_for(facts, "NV-CC-TOO-OLD", found, floor=floor)
        yield Finding("NV-CC-TOO-OLD", Severity.WARNING, evidence, fix)


def _no_uvm(facts: Facts, gpus: Sequence[Gpu]) -> Iterator[Finding]:
    """NVML answers without this node, and CUDA ends with error 999.

    On a host the driver's own helper, where it is installed, makes the node at first use; a container has none.
    """
    found = [gpu for gpu in gpus if gpu.uvm is False and gpu.obstacle is None]
    if found:
        severity = Severity.INFO if facts.os.container is None else Severity.WARNING
        evidence = f"{names(found)}: {UVM_NODE} is missing, without which CUDA does not start{_driver(found[0])}"
        yield Finding("NV-UVM-STALE", severity, evidence, fix_for(facts, "NV-UVM-STALE", found))


def _driver(gpu: Gpu) -> str:
    return f" (driver {plain(gpu.driver)})" if gpu.driver else ""


def _no_instance(facts: Facts, gpus: Sequence[Gpu]) -> Iterator[Finding]:
    found = [gpu for gpu in gpus if gpu.obstacle is Obstacle.NO_INSTANCE or (gpu.partitioned and not gpu.instances)]
    if found:
        evidence = f"{names(found)}: MIG is on, and it has no instance that could be used{_driver(found[0])}"
        yield Finding("NV-MIG-NO-INSTANCE", Severity.WARNING, evidence, fix_for(facts, "NV-MIG-NO-INSTANCE", found))
