"""Intel's GPUs: what the kernel's drivers i915 and xe say of them, and whether level-zero can reach them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from provision.domain.facts import Facts
from provision.domain.gpu import Gpu, GpuMemory, GpuState, Obstacle
from provision.facts.gpu.pci import ACCELERATOR, INTEL, VENDORS, PciGpu, read_base_class
from provision.facts.gpu.rungs import Rung, check_driver, check_nodes, read_number, render_node
from provision.facts.probing import Recorder
from provision.facts.programs import ask
from provision.host.machine import Machine

if TYPE_CHECKING:
    from provision.knowledge.gpus import KnownGpu

DRIVERS, LEGACY = ("i915", "xe"), ("gma500_gfx",)
LEVEL_ZERO: tuple[str, ...] = ("libze_loader.so.1", "libze_intel_gpu.so.1")
SYCL_LS = ("sycl-ls",)
SYCL_DIRECTORY = "/opt/intel/oneapi/compiler/latest/bin"
# What sycl-ls lists, and engines on level-zero see, is what these leave.
_FILTERS = ("ONEAPI_DEVICE_SELECTOR", "SYCL_DEVICE_FILTER", "ZE_AFFINITY_MASK")

_TILE, _CARD = re.compile(r"tile[0-9]{1,3}"), re.compile(r"card[0-9]{1,4}")
_LISTED = re.compile(r"^\[([a-z_]+):([a-z]+)[\]:](?:[^,\n]*, )?(.*)$", re.MULTILINE)


class SyclDevice(NamedTuple):
    """One device that sycl-ls lists: ``backend`` is ``level_zero`` or ``opencl``, ``kind`` ``gpu`` or ``cpu``."""

    backend: str
    kind: str
    name: str


def parse_sycl_ls(text: str) -> tuple[SyclDevice, ...]:
    """Return every device that is listed, none for an empty text. Raises ``ValueError`` for any other without one."""
    found = _LISTED.findall(text)
    if text.strip() and not found:
        raise ValueError("it is no list of devices")
    return tuple(SyclDevice(backend.removeprefix("ext_oneapi_"), kind, name) for backend, kind, name in found)


def read_gpus(machine: Machine, record: Recorder, cards: Sequence[PciGpu], so_far: Facts) -> tuple[Gpu, ...]:
    """Return the Intel GPUs among ``cards``, each as far as it climbs without Vulkan.

    One that only Vulkan could still make usable stays at ``DRIVER`` with the obstacle ``NO_API`` or ``NO_LIBRARY``.
    """
    mine = [card for card in cards if card.vendor_id == INTEL]
    mine = [card for card in mine if read_base_class(machine, card.directory) != ACCELERATOR]  # no neural processors
    if not mine:
        return ()
    nothing: Mapping[int, KnownGpu] = {}
    known = record.run("intel-ids", "profiles/gpus.yaml", _load_known, nothing)
    gpus = [_read_gpu(machine, record, card, known.get(card.device_id)) for card in mine]
    if any(_may_compute(gpu) for gpu in gpus):
        missing = record.run("level-zero", " and ".join(LEVEL_ZERO), lambda: _missing(machine, so_far), LEVEL_ZERO)
        listed = record.run("sycl-ls", SYCL_LS[0], lambda: _ask_sycl_ls(machine), None)
        count = sum(gpu.obstacle is Obstacle.NO_API for gpu in gpus)
        answers, hidden = _is_listed(listed, count), _is_hidden(listed, count, machine.env)
        answers = None if hidden else answers
        gpus = [_with_level_zero(gpu, missing, answers, hidden) if _may_compute(gpu) else gpu for gpu in gpus]
    return tuple(gpus)


def _load_known() -> Mapping[int, KnownGpu]:
    from provision.knowledge.gpus import load_intel

    return load_intel()


def _read_gpu(machine: Machine, record: Recorder, card: PciGpu, known: KnownGpu | None) -> Gpu:
    vram = None
    if card.driver in DRIVERS:
        name, read = f"{card.driver} {card.address}", lambda: read_vram(machine, card)
        vram = record.run(name, f"memory of its own below {card.directory}", read, None)
    integrated = False if vram else known.integrated if known else None
    rung = check_driver(card.driver, DRIVERS, LEGACY) or _check_nodes(machine, card)
    return Gpu(
        vendor=VENDORS[INTEL],
        name=known.name if known else None,
        pci=card.address,
        arch=known.family if known else None,
        integrated=integrated,
        state=rung.state,
        memory=describe_memory(integrated, vram),
        driver_name=card.driver,
        device_id=card.ids,
        obstacle=rung.obstacle,
        detail=rung.detail,
        access_group=rung.group,
        sources=("pci", card.driver) if vram and card.driver else ("pci",),
    )


def read_vram(machine: Machine, card: PciGpu) -> int | None:
    """Return the bytes of memory of its own: xe has a file for each tile, the i915 of Intel's packages one.

    ``None`` where there is none: in a processor, and in a card on a kernel that does not tell.
    """
    tiles = [name for name in machine.list_dir(card.directory) if _TILE.fullmatch(name)]
    cards = [name for name in machine.list_dir(f"{card.directory}/drm") if _CARD.fullmatch(name)]
    paths = [f"{card.directory}/{tile}/physical_vram_size_bytes" for tile in tiles]
    paths += [f"{card.directory}/drm/{name}/lmem_total_bytes" for name in cards]
    return sum(size for path in paths if (size := read_number(machine, path)) is not None) or None


def describe_memory(integrated: bool | None, vram_bytes: int | None) -> GpuMemory:
    """Return the memory; a processor's GPU takes main memory as it needs it, without a bound that is known."""
    if integrated is None:
        return GpuMemory()
    return GpuMemory("unified", pool="host") if integrated else GpuMemory("dedicated", vram_bytes)


def _check_nodes(machine: Machine, card: PciGpu) -> Rung:
    node = render_node(machine, card.address)
    if node is None:
        return Rung(GpuState.DRIVER, Obstacle.NO_DEVICE_NODES, f"the driver made no render node for {card.address}")
    return check_nodes(machine, (node,)) or Rung(GpuState.DRIVER, Obstacle.NO_API)


def _may_compute(gpu: Gpu) -> bool:
    """Only cards: a processor's GPU shares the bandwidth that its cores already use up."""
    return gpu.integrated is False and gpu.obstacle is Obstacle.NO_API


def _missing(machine: Machine, so_far: Facts) -> tuple[str, ...]:
    from provision.facts.libraries import find_libraries

    found = find_libraries(machine, LEVEL_ZERO, so_far.os.arch, so_far.os.libc.name)
    return tuple(name for name, path in found.items() if path is None)


def _ask_sycl_ls(machine: Machine) -> tuple[SyclDevice, ...] | None:
    text = ask(machine, SYCL_LS, SYCL_DIRECTORY)
    return None if text is None else parse_sycl_ls(text)


def _is_listed(listed: tuple[SyclDevice, ...] | None, reachable: int) -> bool | None:
    """Tell whether sycl-ls finds all of the ``reachable`` GPUs (``True``), none of them, or does not say.

    It prints no addresses: of fewer GPUs than there are nobody knows which.
    """
    if listed is None:
        return None
    count = sum(device.backend == "level_zero" and device.kind == "gpu" for device in listed)
    if count == 0:
        return False
    return True if count >= reachable else None


def _is_hidden(listed: tuple[SyclDevice, ...] | None, reachable: int, env: Mapping[str, str]) -> bool | None:
    """Tell whether a filter hides all GPUs (``True``) or none of them; ``None`` where it may hide some."""
    if not any(env.get(name) for name in _FILTERS):
        return False
    answers = _is_listed(listed, reachable)
    return None if answers is None else not answers


def _with_level_zero(gpu: Gpu, missing: tuple[str, ...], listed: bool | None, hidden: bool | None) -> Gpu:
    """Climb the last rung: the libraries are there, and sycl-ls, where it is installed, does not deny it.

    A filter that hides a GPU may be all that keeps it from the list, so that the libraries decide.
    """
    sources = gpu.sources if listed is None else (*gpu.sources, SYCL_LS[0])
    if listed or (not missing and listed is None):
        usable = replace(gpu, state=GpuState.USABLE, apis=("level-zero",), obstacle=None, sources=sources)
        return replace(usable, masked=hidden)
    if missing:
        return replace(gpu, obstacle=Obstacle.NO_LIBRARY, detail=", ".join(missing), sources=sources)
    return replace(gpu, detail="sycl-ls lists no level-zero GPU", sources=sources)
