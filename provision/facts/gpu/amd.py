"""AMD's GPUs: what the bus, the kernel's drivers and its compute driver (KFD) say of them, without ROCm."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from provision.domain.facts import Facts
from provision.domain.gpu import Gpu, GpuInstance, GpuMemory, GpuState, Obstacle
from provision.facts.gpu import amd_mask
from provision.facts.gpu.amd_memory import Attributes, describe_memory, is_integrated, read_attributes
from provision.facts.gpu.kfd import NODES, Node, Topology, read_topology
from provision.facts.gpu.pci import AMD, VENDORS, PciGpu
from provision.facts.gpu.rocm_tools import ROCMINFO, RocmGpu, ask_any, ask_rocminfo
from provision.facts.gpu.rungs import Rung, check_driver, check_nodes, render_node
from provision.facts.probing import Recorder
from provision.host.machine import Machine

DRIVER, LEGACY = "amdgpu", ("radeon",)
VERSION = "/sys/module/amdgpu/version"
NAMES = "/usr/share/libdrm/amdgpu.ids"
KFD = "/dev/kfd"
_VENDOR = VENDORS[AMD]


class Card(NamedTuple):
    """One GPU with what was read of it. ``nodes`` are its partitions in KFD: one, or none where KFD leaves it out."""

    pci: PciGpu
    nodes: tuple[Node, ...] = ()
    attributes: Attributes = Attributes()
    name: str | None = None
    gfx: str | None = None
    told: RocmGpu = RocmGpu()
    sources: tuple[str, ...] = ("pci",)


class Host(NamedTuple):
    """What all cards share. ``shown`` are the nodes of KFD that no environment variable hides."""

    topology: Topology = Topology()
    shown: tuple[int, ...] = ()
    version: str | None = None
    available_bytes: int | None = None


def read_gpus(machine: Machine, record: Recorder, cards: Sequence[PciGpu], so_far: Facts) -> tuple[Gpu, ...]:
    """Return the AMD GPUs among ``cards``, each as far as it climbs without Vulkan.

    One that only Vulkan could still make usable stays at ``DRIVER`` with an obstacle. In WSL2, which shows no GPU
    on the bus, those that rocminfo lists.
    """
    mine = [card for card in cards if card.vendor_id == AMD]
    if not mine:
        return _read_wsl(machine, record) if so_far.os.wsl == 2 else ()
    if not any(card.driver == DRIVER for card in mine):
        return tuple(_describe(machine, Card(card), Host()) for card in mine)
    topology = record.run("kfd", NODES, lambda: read_topology(machine), Topology())
    host = Host(
        topology,
        _shown(topology.nodes, machine.env),
        record.run("amdgpu", VERSION, lambda: _read_line(machine, VERSION), None),
        so_far.memory.available_bytes,
    )
    names = record.run("amdgpu.ids", NAMES, lambda: machine.read_text(NAMES), "")
    read = [_read_card(machine, record, card, nodes_of(card, mine, topology.nodes), names) for card in mine]
    return tuple(_describe(machine, card, host) for card in _ask_programs(machine, record, read))


def _read_line(machine: Machine, path: str) -> str | None:
    text = machine.read_text(path) or ""
    return text.strip()[:100] or None


def _shown(nodes: Sequence[Node], env: Mapping[str, str]) -> tuple[int, ...]:
    """Return the numbers of the nodes that no environment variable hides."""
    return tuple(nodes[index].number for index in amd_mask.visible([node.uuid for node in nodes], env))


def _read_card(machine: Machine, record: Recorder, card: PciGpu, nodes: tuple[Node, ...], names: str) -> Card:
    if card.driver != DRIVER:
        return Card(card)
    minor = nodes[0].render_minor if nodes else None
    name, read = f"amdgpu {card.address}", lambda: read_attributes(machine, card, minor)
    attributes = record.run(name, card.directory, read, Attributes())
    return Card(
        card,
        nodes,
        attributes,
        attributes.product_name or find_name(names, card.device_id, card.revision),
        nodes[0].gfx if nodes else None,
        sources=("pci", *(["kfd"] if nodes else []), *([DRIVER] if attributes != Attributes() else [])),
    )


def nodes_of(card: PciGpu, cards: Iterable[PciGpu], nodes: Iterable[Node]) -> tuple[Node, ...]:
    """Return a card's nodes. Some kernels write the number of a partition where the PCI function stands."""
    slot = card.address.rpartition(".")[0]
    others = {one.address for one in cards} - {card.address}
    mine = tuple(node for node in nodes if node.address.startswith(f"{slot}.") and node.address not in others)
    return mine if any(node.address == card.address for node in mine) else ()


def find_name(table: str, device_id: int, revision: int | None) -> str | None:
    """Look a marketing name up in libdrm's table: device and revision in hexadecimal, then the name."""
    if revision is None:
        return None
    match = re.search(rf"^{device_id:04x},[ \t]*{revision:02x},(.*)$", table, re.MULTILINE | re.IGNORECASE)
    return (match[1].strip() or None) if match else None


def _ask_programs(machine: Machine, record: Recorder, cards: list[Card]) -> list[Card]:
    """Fill in what the kernel does not know of a GPU that its driver runs, from the first program that answers."""
    if not any(_is_vague(card) for card in cards):
        return cards
    program, told = ask_any(machine, record)
    return [_fill(card, program, _find(card, told, cards)) if _is_vague(card) else card for card in cards]


def _is_vague(card: Card) -> bool:
    return card.pci.driver == DRIVER and (card.name is None or (bool(card.nodes) and card.gfx is None))


def _find(card: Card, told: Sequence[RocmGpu], cards: Sequence[Card]) -> RocmGpu | None:
    bound = [one for one in cards if one.pci.driver == DRIVER]
    return next((gpu for gpu in told if _is_same(gpu, card, bound, alone=len(told) == 1)), None)


def _is_same(gpu: RocmGpu, card: Card, cards: Sequence[Card], alone: bool) -> bool:
    """Tell whether a program means ``card``: by its address, its node, its slot, or as there is one of each only."""
    if gpu.pci is not None:
        return gpu.pci == card.pci.address
    if gpu.node is not None:
        return gpu.node in [node.number for node in card.nodes]
    if gpu.slot is not None:
        return [one for one in cards if one.pci.address.endswith(gpu.slot)] == [card]
    return alone and len(cards) == 1


def _fill(card: Card, program: str, told: RocmGpu | None) -> Card:
    if told is None:
        return card
    sources = (*card.sources, program)
    return card._replace(name=card.name or told.name, gfx=card.gfx or told.gfx, told=told, sources=sources)


def _describe(machine: Machine, card: Card, host: Host) -> Gpu:
    integrated = is_integrated(card.pci, card.nodes, card.attributes, card.gfx, card.told.apu)
    elsewhere = sum(node.memory_bytes or 0 for node in card.nodes) or card.told.memory_bytes
    rung = climb(machine, card, host.topology.hidden)
    numbers = {node.number for node in card.nodes}
    return Gpu(
        vendor=_VENDOR,
        name=card.name,
        pci=card.pci.address,
        arch=card.gfx,
        integrated=integrated,
        state=rung.state,
        apis=("rocm",) if rung.state is GpuState.USABLE else (),
        memory=describe_memory(card.attributes, integrated, elsewhere, host.available_bytes),
        driver=host.version if card.pci.driver == DRIVER else None,
        driver_name=card.pci.driver,
        device_id=card.pci.ids,
        uuid=card.nodes[0].uuid if card.nodes else None,
        obstacle=rung.obstacle,
        detail=rung.detail,
        masked=bool(numbers) and numbers.isdisjoint(host.shown),
        partitioned=len(card.nodes) > 1 if card.nodes else None,
        instances=tuple(_instance(node) for node in card.nodes) if len(card.nodes) > 1 else (),
        access_group=rung.group,
        sources=card.sources,
    )


def _instance(node: Node) -> GpuInstance:
    return GpuInstance(node.uuid, f"node {node.number}", GpuMemory("dedicated", node.memory_bytes))


def climb(machine: Machine, card: Card, hidden: int = 0) -> Rung:
    """Return how far a GPU is from ROCm; ``hidden`` counts the nodes of KFD that this process may not read.

    A GPU that KFD leaves out can be used through Vulkan only, which needs its render node.
    """
    stopped = check_driver(card.pci.driver, (DRIVER,), LEGACY)
    if stopped is not None:
        return stopped
    minor = card.nodes[0].render_minor if card.nodes else None
    render = render_node(machine, card.pci.address) or (f"/dev/dri/renderD{minor}" if minor else None)
    computes = bool(card.nodes) or hidden > 0
    stopped = check_nodes(machine, [path for path in (KFD if computes else None, render) if path])
    if stopped is not None:
        return stopped
    if card.nodes:
        return Rung(GpuState.USABLE)
    if computes:
        return Rung(GpuState.DRIVER, Obstacle.NO_PERMISSION, f"{hidden} of {NODES} may not be read")
    return Rung(GpuState.DRIVER, Obstacle.NO_API, "the kernel does not list it for computing (KFD)")


def _read_wsl(machine: Machine, record: Recorder) -> tuple[Gpu, ...]:
    """Windows keeps the driver, so rocminfo is the only witness. It has applied the runtime's variable by itself."""
    env = {name: machine.env[name] for name in amd_mask.HIP if name in machine.env}
    return amd_mask.mask([_describe_wsl(gpu) for gpu in ask_rocminfo(machine, record)], env)


def _describe_wsl(told: RocmGpu) -> Gpu:
    kind = {None: "unknown", True: "unified", False: "dedicated"}[told.apu]
    return replace(
        Gpu(_VENDOR, told.name, arch=told.gfx, integrated=told.apu, state=GpuState.USABLE, apis=("rocm",)),
        memory=GpuMemory(kind, told.memory_bytes),
        sources=ROCMINFO,
    )
