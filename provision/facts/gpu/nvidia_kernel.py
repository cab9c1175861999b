"""What the kernel says of NVIDIA's driver and its GPUs, without any library."""

from __future__ import annotations

import re
from typing import NamedTuple

from provision.facts import libraries
from provision.facts.gpu.nvml import text_of, uuid_of
from provision.facts.links import link_name
from provision.host.machine import Access, Machine

MODULE = "/sys/module/nvidia/version"
PROC_VERSION = "/proc/driver/nvidia/version"
PROC_GPUS = "/proc/driver/nvidia/gpus"
CONTROL_NODE = "/dev/nvidiactl"
UVM_NODE = "/dev/nvidia-uvm"
LIBRARY = "libnvidia-ml.so.1"

_MAX_CHARACTERS = 4096
_VERSION = r"[0-9]{2,4}(?:\.[0-9]{1,4}){1,3}"
_NVRM = re.compile(rf"^NVRM version:.*?\s({_VERSION})\s", re.MULTILINE)
_SONAME = re.compile(rf"libnvidia-ml\.so\.({_VERSION})")
_FIELD = re.compile(r"^(Model|GPU UUID|Device Minor):\s*(.*?)\s*$", re.MULTILINE)


class Information(NamedTuple):
    """One GPU as the driver lists it under /proc. ``minor`` is the number of its device node."""

    model: str | None = None
    uuid: str | None = None
    minor: int | None = None


class Nodes(NamedTuple):
    """The driver's device nodes: whether any is visible, and who may use the one that every program opens."""

    visible: bool
    access: Access | None = None


def parse_module_version(text: str) -> str:
    """Return the version of the loaded module. Raises ``ValueError`` for anything else."""
    version = text.strip()
    if not re.fullmatch(_VERSION, version):
        raise ValueError("no version of a driver")
    return version


def parse_proc_version(text: str) -> str:
    """Return the version from /proc, which the closed and the open module word differently."""
    match = _NVRM.search(text[:_MAX_CHARACTERS])
    if match is None:
        raise ValueError("no version of a driver")
    return match[1]


def read_version(machine: Machine) -> str | None:
    """Return the version of the loaded module, ``None`` where none is loaded."""
    text = machine.read_text(MODULE)
    if text is not None:
        return parse_module_version(text)
    text = machine.read_text(PROC_VERSION)
    return None if text is None else parse_proc_version(text)


def parse_information(text: str) -> Information:
    """Parse what /proc says of one GPU; one that was never opened has question marks for a UUID."""
    fields = dict(_FIELD.findall(text[:_MAX_CHARACTERS]))
    model, uuid, minor = (fields.get(name) for name in ("Model", "GPU UUID", "Device Minor"))
    return Information(
        model=None if model == "Unknown" else text_of(model),
        uuid=None if uuid is None or "?" in uuid else uuid_of(text_of(uuid)),
        minor=int(minor) if minor and re.fullmatch("[0-9]{1,4}", minor) else None,
    )


def read_information(machine: Machine, address: str) -> Information | None:
    """Read what /proc says of the GPU at this PCI address."""
    text = machine.read_text(f"{PROC_GPUS}/{address}/information")
    return None if text is None else parse_information(text)


def read_nodes(machine: Machine) -> Nodes:
    """Look for device nodes; a container that was started without GPUs has none."""
    access = machine.access(CONTROL_NODE)
    visible = access is not None or any(name.startswith("nvidia") for name in machine.list_dir("/dev"))
    return Nodes(visible, access)


def read_library_version(machine: Machine, arch: str | None, libc: str | None) -> str | None:
    """Return the version in the file name of the library that the loader finds, where its link says it."""
    links = (link_name(machine, f"{place}/{LIBRARY}") for place in libraries.search_path(machine, arch, libc))
    found = next((link for link in links if link is not None), "")
    match = _SONAME.fullmatch(found)
    return match[1] if match else None
