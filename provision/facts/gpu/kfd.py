"""What AMD's compute driver in the kernel (KFD) lists: readable without ROCm and without a device node."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from provision.host.machine import Machine

NODES = "/sys/class/kfd/kfd/topology/nodes"
_PROPERTY = re.compile(r"^(\w+) ([0-9]{1,20})[ \t\r]*$", re.MULTILINE)
_NUMBER = re.compile(r"[0-9]{1,6}")
_LOCAL_HEAPS = (1, 2)  # frame buffer, with and without access by the processor; 0 is main memory
_MAX_BYTES = 1 << 60


class Node(NamedTuple):
    """One GPU that KFD lists, or one partition of it.

    ``address`` is ``dddd:bb:dd.f``; ``gfx`` is ``None`` where the kernel is too old to tell. ``with_processor`` says
    that the node holds processor cores too, as old APUs do. ``render_minor`` is the N of ``/dev/dri/renderDN``.
    """

    number: int
    address: str
    gfx: str | None = None
    render_minor: int | None = None
    unique_id: int | None = None
    with_processor: bool = False
    memory_bytes: int | None = None

    @property
    def uuid(self) -> str | None:
        """The name that ROCm's environment variables know the GPU by; those before gfx9 have none."""
        return f"GPU-{self.unique_id:016x}" if self.unique_id else None


class Topology(NamedTuple):
    """The GPU nodes in the order of their numbers, which is the order that ROCm counts them in.

    ``hidden`` counts the nodes that are there and cannot be read: the kernel hides what a container was not given.
    """

    nodes: tuple[Node, ...] = ()
    hidden: int = 0


def parse_properties(text: str) -> dict[str, int]:
    """Parse a ``properties`` file: one name and number a line. Raises ``ValueError`` where it has no such line."""
    properties = {name: int(number) for name, number in _PROPERTY.findall(text)}
    if not properties:
        raise ValueError("it has no properties")
    return properties


def gfx_name(version: int) -> str | None:
    """Return the target that a ``gfx_target_version`` stands for, ``None`` for 0 (a processor).

    Major, minor and stepping are two decimal digits each; the name has the last two in hexadecimal. Raises
    ``ValueError`` for what has no name.
    """
    major, minor, stepping = version // 10000, version // 100 % 100, version % 100
    if version == 0:
        return None
    if not 0 < major < 100 or minor > 15 or stepping > 15:
        raise ValueError(f"no gfx target: {version}")
    return f"gfx{major}{minor:x}{stepping:x}"


def pci_address(domain: int, location: int) -> str:
    """Return the address of a ``location_id``: bus, device and function; its upper bits number the partition."""
    return f"{domain & 0xFFFFFFFF:04x}:{location >> 8 & 0xFF:02x}:{location >> 3 & 0x1F:02x}.{location & 7:x}"


def parse_node(number: int, properties: Mapping[str, int]) -> Node | None:
    """Return a GPU's node, ``None`` for a processor's. Raises ``ValueError`` for a target without a name."""
    gfx = gfx_name(properties.get("gfx_target_version", 0))
    if gfx is None and not properties.get("simd_count"):
        return None
    return Node(
        number,
        pci_address(properties.get("domain", 0), properties.get("location_id", 0)),
        gfx,
        properties.get("drm_render_minor") or None,
        properties.get("unique_id") or None,
        properties.get("cpu_cores_count", 0) > 0,
    )


def local_memory(banks: list[Mapping[str, int]]) -> int | None:
    """Return the bytes of the banks that are the GPU's own, ``None`` where there is none."""
    sizes = [bank.get("size_in_bytes", 0) for bank in banks if bank.get("heap_type") in _LOCAL_HEAPS]
    total = sum(sizes)
    return total if 0 < total < _MAX_BYTES else None


def read_topology(machine: Machine) -> Topology | None:
    """Read every GPU node. ``None`` where the kernel has no KFD; raises ``ValueError`` for nonsense in it."""
    numbers = _numbers(machine, NODES)
    if not numbers:
        return None
    nodes, hidden = [], 0
    for number in numbers:
        text = machine.read_text(f"{NODES}/{number}/properties")
        if text is None:
            hidden += 1
        elif (node := parse_node(number, parse_properties(text))) is not None:
            nodes.append(node._replace(memory_bytes=_read_memory(machine, number)))
    return Topology(tuple(nodes), hidden)


def _read_memory(machine: Machine, number: int) -> int | None:
    directory = f"{NODES}/{number}/mem_banks"
    texts = (machine.read_text(f"{directory}/{bank}/properties") for bank in _numbers(machine, directory))
    return local_memory([parse_properties(text) for text in texts if text is not None])


def _numbers(machine: Machine, directory: str) -> list[int]:
    """Return the numbered entries in the order of their numbers: 2 before 10."""
    return sorted({int(name) for name in machine.list_dir(directory) if _NUMBER.fullmatch(name)})
