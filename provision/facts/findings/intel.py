"""Intel's cards. The GPUs inside of processors are no better than the processor, and need nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from provision.domain.facts import Facts
from provision.domain.finding import Finding, Severity
from provision.domain.gpu import Gpu, GpuState, Obstacle
from provision.facts.findings.fixes import fix_for, group_tags
from provision.facts.findings.gpus import withheld
from provision.facts.findings.wording import names, plain

VENDOR = "intel"
LEVEL_ZERO = "level-zero"
# What level-zero alone lacks; anything else is told under its own name.
_OF_LEVEL_ZERO = (None, Obstacle.NO_API, Obstacle.NO_LIBRARY)


def find_intel(facts: Facts) -> Iterator[Finding]:
    """Yield the findings about Intel's cards."""
    gpus = [gpu for gpu in facts.gpus if gpu.vendor == VENDOR and gpu.integrated is False and not withheld(facts, gpu)]
    for rule in (_no_driver, _no_nodes, _no_permission, _no_level_zero):
        yield from rule(facts, gpus)


def _no_driver(facts: Facts, gpus: Sequence[Gpu]) -> Iterator[Finding]:
    found = [gpu for gpu in gpus if gpu.obstacle is Obstacle.NO_DRIVER]
    if found:
        kernel = f"; the kernel is {plain(facts.os.kernel)}" if facts.os.kernel else ""
        evidence = f"{names(found)}: neither xe nor i915 is bound to it{kernel}"
        yield Finding("INTEL-DRIVER-MISSING", Severity.WARNING, evidence, fix_for(facts, "INTEL-DRIVER-MISSING", found))


def _no_nodes(facts: Facts, gpus: Sequence[Gpu]) -> Iterator[Finding]:
    found = [gpu for gpu in gpus if gpu.obstacle is Obstacle.NO_DEVICE_NODES]
    if found:
        evidence = f"{names(found)}: its device nodes are missing{_said(found[0])}"
        fix = fix_for(facts, "INTEL-NO-DEVICE-NODES", found)
        yield Finding("INTEL-NO-DEVICE-NODES", Severity.WARNING, evidence, fix)


def _said(gpu: Gpu) -> str:
    return f" ({plain(gpu.detail)})" if gpu.detail else ""


def _no_permission(facts: Facts, gpus: Sequence[Gpu]) -> Iterator[Finding]:
    found = [gpu for gpu in gpus if gpu.obstacle is Obstacle.NO_PERMISSION]
    if found:
        belongs = f", which belongs to the group {plain(found[0].access_group)}" if found[0].access_group else ""
        evidence = f"{names(found)}: this user may not open {plain(found[0].detail or 'its device nodes')}{belongs}"
        fix = fix_for(facts, "INTEL-PERMISSION", found, group_tags(found))
        yield Finding("INTEL-PERMISSION", Severity.WARNING, evidence, fix)


def _no_level_zero(facts: Facts, gpus: Sequence[Gpu]) -> Iterator[Finding]:
    found = [gpu for gpu in gpus if LEVEL_ZERO not in gpu.apis and gpu.obstacle in _OF_LEVEL_ZERO]
    found = [gpu for gpu in found if gpu.state is not GpuState.PRESENT]
    if found:
        evidence = f"{names(found)}: level-zero does not reach it, so that SYCL cannot be used{_said(found[0])}"
        yield Finding("INTEL-NO-LEVELZERO", Severity.INFO, evidence, fix_for(facts, "INTEL-NO-LEVELZERO", found))
