"""macOS, which has no /proc: the values that ``sysctl`` and ``vm_stat`` print."""

from __future__ import annotations

import re
from collections.abc import Mapping

from provision.domain.facts import Cpu, Memory
from provision.facts.programs import finished
from provision.host.machine import Command, Machine

# Whole branches, because a name that one Mac lacks would end the listing there.
SYSCTL = Command(("/usr/sbin/sysctl", "hw", "machdep.cpu", "kern.osproductversion"), timeout_s=5)
# Names that not every Mac has: what such a listing says before it ends still counts.
OPTIONAL = Command(
    ("/usr/sbin/sysctl", "kern.hv_vmm_present", "sysctl.proc_translated", "iogpu.wired_limit_mb"), timeout_s=5
)
VM_STAT = Command(("/usr/bin/vm_stat",), timeout_s=5)
HOMEBREW = ("/opt/homebrew/bin/brew", "/usr/local/bin/brew")
VIRTUAL_MACHINE = "apple-virtualization"

_MAX_DIGITS = 20
_PAGE_SIZE = re.compile(r"page size of (\d+) bytes")
_PAGES = re.compile(r"^Pages ([a-z ]+):\s+(\d+)\.", re.MULTILINE)
_ARM_ISA = {
    "hw.optional.arm64": "asimd",
    "hw.optional.AdvSIMD": "asimd",
    "hw.optional.neon": "asimd",
    "hw.optional.arm.FEAT_DotProd": "asimddp",
    "hw.optional.arm.FEAT_FP16": "asimdhp",
    "hw.optional.arm.FEAT_I8MM": "i8mm",
    "hw.optional.arm.FEAT_BF16": "bf16",
    "hw.optional.arm.FEAT_SME": "sme",
    "hw.optional.arm.FEAT_SME2": "sme2",
}
_INTEL_ISA = {
    "SSE3": "pni",
    "SSSE3": "ssse3",
    "SSE4.1": "sse4_1",
    "SSE4.2": "sse4_2",
    "POPCNT": "popcnt",
    "MOVBE": "movbe",
    "AES": "aes",
    "AVX1.0": "avx",
    "F16C": "f16c",
    "FMA": "fma",
    "AVX2": "avx2",
    "BMI1": "bmi1",
    "BMI2": "bmi2",
    "AVX512F": "avx512f",
    "AVX512BW": "avx512bw",
    "AVX512CD": "avx512cd",
    "AVX512DQ": "avx512dq",
    "AVX512VL": "avx512vl",
    "AVX512VNNI": "avx512_vnni",
}


def parse_sysctl(text: str) -> dict[str, str]:
    """Parse ``name: value`` lines."""
    pairs = (line.partition(": ") for line in text.splitlines())
    return {name: value.strip() for name, colon, value in pairs if colon}


def parse_vm_stat(text: str) -> int:
    """Return the bytes that programs can have: free, read ahead, and not used of late.

    ``vm_stat`` does not count pages read ahead among the free ones. Raises ``ValueError`` for another format.
    """
    size = _PAGE_SIZE.search(text)
    pages = {name: int(count) for name, count in _PAGES.findall(text)}
    if size is None or not {"free", "inactive"} <= pages.keys():
        raise ValueError("it has no page size or no counts of pages")
    return int(size[1]) * (pages["free"] + pages["inactive"] + pages.get("speculative", 0))


def read_sysctl(machine: Machine) -> dict[str, str] | None:
    """Run ``sysctl`` once for all probes; it ends with 1 where a single name is unknown."""
    return parse_sysctl(_output(machine, SYSCTL)) or None


def read_optional(machine: Machine) -> dict[str, str] | None:
    """Run ``sysctl`` for what only some Macs know: whether they are virtual or translate, and the GPU's limit."""
    return parse_sysctl(_output(machine, OPTIONAL)) or None


def read_package_manager(machine: Machine) -> str | None:
    """Return ``brew`` where Homebrew is installed, for Arm or for Intel."""
    return "brew" if any(machine.exists(path) for path in HOMEBREW) else None


def read_available(machine: Machine) -> int | None:
    """Run ``vm_stat``."""
    text = _output(machine, VM_STAT)
    return parse_vm_stat(text) if text else None


def _output(machine: Machine, command: Command) -> str:
    result = finished(machine, command)
    return result.stdout if result else ""


def is_arm(values: Mapping[str, str]) -> bool:
    """Tell whether this is an Arm Mac, also to a program that it translates and that sees x86_64 around it."""
    return values.get("hw.optional.arm64") == "1"


def is_translated(values: Mapping[str, str]) -> bool | None:
    """Tell whether Rosetta translates this process: on Intel, where the kernel knows no such thing, never."""
    model = values.get("machdep.cpu.brand_string", "")
    if model.startswith("VirtualApple"):
        return True
    translated = {"0": False, "1": True}.get(values.get("sysctl.proc_translated", ""))
    return False if translated is None and model.startswith("Intel") else translated


def virtual_machine(values: Mapping[str, str]) -> str | None:
    """Name the hypervisor that this Mac runs in: on Arm there is Apple's only, on Intel any (``vm``)."""
    if values.get("kern.hv_vmm_present") != "1":
        return None
    return VIRTUAL_MACHINE if is_arm(values) else "vm"


def number(values: Mapping[str, str], name: str) -> int | None:
    """Return a value that is a number, ``None`` where there is none of that name or it is something else."""
    text = values.get(name, "")
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= _MAX_DIGITS else None


def describe_cpu(values: Mapping[str, str]) -> Cpu:
    """Name the processor; macOS has neither affinity nor quotas, so all logical processors are usable."""
    model = values.get("machdep.cpu.brand_string") or None
    logical = number(values, "hw.logicalcpu") or number(values, "hw.ncpu")
    on_arm = is_arm(values)
    return Cpu(
        vendor="Apple" if on_arm else values.get("machdep.cpu.vendor"),
        model=model,
        cores_physical=number(values, "hw.physicalcpu"),
        cores_logical=logical,
        cores_usable=logical,
        isa=arm_isa(values) if on_arm else intel_isa(values),
        cores_performance=_performance_cores(values),
    )


def _performance_cores(values: Mapping[str, str]) -> int | None:
    """Return the cores of level 0, the fastest, whatever its name; ``None`` where all cores are of one kind."""
    return number(values, "hw.perflevel0.physicalcpu") if (number(values, "hw.nperflevels") or 1) > 1 else None


def arm_isa(values: Mapping[str, str]) -> tuple[str, ...]:
    """Return the features under the names that Linux gives them."""
    return tuple(sorted({name for key, name in _ARM_ISA.items() if values.get(key) == "1"}))


def intel_isa(values: Mapping[str, str]) -> tuple[str, ...]:
    """Return the features under the names that Linux gives them; those without a clear counterpart are left out."""
    words = f"{values.get('machdep.cpu.features', '')} {values.get('machdep.cpu.leaf7_features', '')}".split()
    return tuple(sorted({_INTEL_ISA[word] for word in words if word in _INTEL_ISA}))


def describe_memory(values: Mapping[str, str], available_bytes: int | None) -> Memory:
    """Put total and available memory together; macOS limits no process by group."""
    return Memory(total_bytes=number(values, "hw.memsize"), available_bytes=available_bytes)
