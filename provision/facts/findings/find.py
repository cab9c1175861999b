"""What is worth telling about a machine, under codes that never change. A pure function of ``Facts``."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from provision.domain.facts import Facts
from provision.domain.finding import Finding, Severity
from provision.facts.findings.limits import find_limits
from provision.facts.findings.system import find_system

CODES = (
    *("NV-DRIVER-MISSING", "NV-NOT-LOADED", "NV-NOUVEAU", "NV-LIB-MISMATCH", "NV-LIB-MISSING", "NV-DRIVER-OLD"),
    *("NV-CC-TOO-OLD", "NV-UVM-STALE", "NV-NO-DEVICE-NODES", "NV-PERMISSION", "NV-MIG-NO-INSTANCE", "NV-GPU-LOST"),
    *("NV-VISIBLE-MASK", "AMD-DRIVER-MISSING", "AMD-NO-DEVICE-NODES", "AMD-KFD-PERMISSION", "AMD-DRIVER-OLD"),
    *("AMD-GFX-UNSUPPORTED", "AMD-LEGACY-RADEON", "AMD-VISIBLE-MASK", "AMD-IGPU-MASK", "AMD-OVERRIDE-SET"),
    *("AMD-GTT-DEFAULT", "INTEL-DRIVER-MISSING", "INTEL-NO-DEVICE-NODES", "INTEL-PERMISSION", "INTEL-NO-LEVELZERO"),
    *("VK-NO-LOADER", "VK-NO-ICD", "VK-SOFTWARE-ONLY", "VK-DUPLICATE", "GPU-PASSED-THROUGH", "GPU-UNUSABLE"),
    *("GPU-BUSY", "WSL-NO-COMPUTE", "ENGINE-DISAGREES", "ENGINE-UNFIT", "ENGINE-ADVISORY", "ENGINE-ADVISORIES-OLD"),
    *("OLLAMA-RUNNING",),
    *("WSL-LIB-PATH", "WSL1", "APPLE-ROSETTA", "APPLE-WIRED-LIMIT"),
    *("CGROUP-MEM", "CGROUP-CPU", "CPU-NO-AVX2", "LIBC-MUSL", "LIBC-OLD", "DISK-LOW", "DISK-NOEXEC"),
    *("DISK-NETWORK-FS", "DISK-RAM", "INIT-NO-USER-BUS", "INIT-NO-LINGER", "NET-OFFLINE"),
    *("NET-PROXY-NOT-IN-SERVICE", "PROBE-TIMEOUT", "PROBE-CRASHED"),
)
LEARNT_CODES = (
    "ENGINE-UNFIT",
    "ENGINE-ADVISORY",
    "ENGINE-ADVISORIES-OLD",
)  # by trying, asking, the day: not from facts alone

Rules = Callable[[Facts], Iterator[Finding]]
_ORDER = (Severity.ERROR, Severity.WARNING, Severity.INFO)


def find(facts: Facts) -> tuple[Finding, ...]:
    """Return every finding that applies: errors, then warnings, then the rest. What is not known leads to none."""
    found = [finding for rules in _rules(facts) for finding in rules(facts)]
    return tuple(sorted(found, key=lambda finding: _ORDER.index(finding.severity)))


def _rules(facts: Facts) -> tuple[Rules, ...]:
    """Return the rules that may say something; those of GPUs are not even loaded where there is none."""
    if not facts.gpus and not facts.vulkan.devices:
        return (*_rules_for_engines(facts), find_limits, find_system)
    from provision.facts.findings.amd import find_amd
    from provision.facts.findings.gpus import find_any_gpu
    from provision.facts.findings.intel import find_intel
    from provision.facts.findings.nvidia import find_nvidia
    from provision.facts.findings.vulkan import find_vulkan

    of_gpus = (find_nvidia, find_amd, find_intel, find_vulkan, find_any_gpu)
    return (*of_gpus, *_rules_for_engines(facts), find_limits, find_system)


def _rules_for_engines(facts: Facts) -> tuple[Rules, ...]:
    if facts.listed_devices is None and not facts.servers:
        return ()
    from provision.facts.findings.engines import find_engines

    return (find_engines,)
