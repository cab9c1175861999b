"""Machines made of the samples of AMD's and Intel's files: what the kernel would show of such a card."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from provision.domain.facts import Facts, Libc, Memory, OperatingSystem, Probe
from provision.domain.gpu import Gpu
from provision.facts.gpu import amd, intel, pci
from provision.facts.probing import Recorder
from provision.host.machine import Access, Machine

SAMPLES = Path(__file__).parents[1] / "samples"
KFD_NODES = "/sys/class/kfd/kfd/topology/nodes"
DEVICES = "/sys/bus/pci/devices"


def sample(name: str) -> str:
    """Return a sample as the tool would have printed it: without the notes about it."""
    lines = (SAMPLES / name).read_text(encoding="utf-8").splitlines(keepends=True)
    return "".join(line for line in lines if not line.startswith("#"))


def sysfs(name: str) -> dict[str, str]:
    """Return a flattened tree: what stands before ``=`` is a file, or a note on it."""
    pairs = (line.partition("=") for line in sample(name).splitlines())
    return {key: value for key, _, value in pairs}


def pci_files(tree: Mapping[str, str], minor: int | None = 128, revision: str = "0xc8") -> dict[str, str]:
    """Return the files of a card on the bus; ``minor`` is that of its render node, if its driver makes one."""
    place = f"{DEVICES}/{tree['pci']}"
    files = {
        f"{place}/class": tree.get("class_") or tree["class"],
        f"{place}/vendor": tree["vendor"],
        f"{place}/device": tree["device"],
        f"{place}/revision": revision,
    }
    if tree.get("driver"):
        files[f"{place}/driver"] = f"../../../../bus/pci/drivers/{tree['driver']}"
    if minor is not None:
        files[f"{place}/drm/renderD{minor}/dev"] = f"226:{minor}"
    read = ("mem_info_", "drm/", "tile", "board_info", "product_name")
    return files | {f"{place}/{key}": f"{value}\n" for key, value in tree.items() if key.startswith(read)}


def kfd_node(number: int, text: str) -> dict[str, str]:
    return {f"{KFD_NODES}/{number}/properties": text}


def device_nodes(*minors: int) -> dict[str, str]:
    return {"/dev/kfd": "", **{f"/dev/dri/renderD{minor}": "" for minor in minors}}


def amd_machine(drm: str, kfd: str | None = None, **changes: str) -> dict[str, str]:
    """Return a machine with one AMD card, its node in KFD and its device nodes."""
    tree = {**sysfs(f"amd/drm/{drm}.sysfs"), **changes}
    nodes = kfd_node(0, sample("amd/kfd/node0_cpu.properties"))
    if kfd is not None:
        nodes |= kfd_node(1, sample(f"amd/kfd/{kfd}.properties"))
    return {**pci_files(tree), **nodes, **device_nodes(128)}


def listed_access(name: str, groups: tuple[int, ...]) -> dict[str, Access]:
    """Return who may use the device nodes that ``ls -ln`` lists: here a user of no name, in ``groups``."""
    table = {}
    for line in sample(name).splitlines():
        mode, _, _, group, *_, path = line.split()
        may = mode[7:9] == "rw" or (mode[4:6] == "rw" and int(group) in groups)
        table[path] = Access(may, group)
    return table


def read_amd(
    machine: Machine, available: int | None = None, wsl: int | None = None
) -> tuple[tuple[Gpu, ...], list[Probe]]:
    """Return what is found of AMD's GPUs with ``available`` bytes of main memory, and the record of it."""
    record = Recorder()
    so_far = Facts(os=OperatingSystem(wsl=wsl), memory=Memory(available_bytes=available))
    return amd.read_gpus(machine, record, pci.read_gpus(machine) or (), so_far), record.probes


def read_intel(machine: Machine) -> tuple[tuple[Gpu, ...], list[Probe]]:
    """Return what is found of Intel's GPUs, and the record of it."""
    record = Recorder()
    so_far = Facts(os=OperatingSystem(arch="x86_64", libc=Libc("glibc", "2.36")))
    return intel.read_gpus(machine, record, pci.read_gpus(machine) or (), so_far), record.probes
