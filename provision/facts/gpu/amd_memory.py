"""What memory an AMD GPU has: its own, or one pool of what it shares with the processor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from provision.domain.gpu import GpuMemory
from provision.domain.units import GIB
from provision.facts.gpu.kfd import Node
from provision.facts.gpu.pci import PciGpu
from provision.facts.gpu.rungs import read_number
from provision.host.machine import Machine

# Which targets are part of a processor and which are cards of their own: LLVM's table of AMDGPU processors, 2025;
# Linux and libdrm for gfx1153. gfx942 is missing on purpose: it is MI300X, a card, and MI300A, which is none.
APU_TARGETS = (
    *("gfx700", "gfx703", "gfx705", "gfx801", "gfx810", "gfx902", "gfx909", "gfx90c", "gfx1013", "gfx1033"),
    *("gfx1035", "gfx1036", "gfx1103", "gfx1150", "gfx1151", "gfx1152", "gfx1153"),
)
CARD_TARGETS = (
    *("gfx701", "gfx702", "gfx704", "gfx802", "gfx803", "gfx805", "gfx900", "gfx904", "gfx906", "gfx908", "gfx90a"),
    *("gfx950", "gfx1010", "gfx1011", "gfx1012", "gfx1030", "gfx1031", "gfx1032", "gfx1034", "gfx1100", "gfx1101"),
    *("gfx1102", "gfx1200", "gfx1201"),
)
_MI300A = 0x74A0


class Attributes(NamedTuple):
    """What the kernel's driver says of one GPU; sizes in bytes.

    ``on_board`` says that the driver knows a board, or who made the memory chips: that of a card of its own.
    """

    vram_bytes: int | None = None
    vram_used_bytes: int | None = None
    vram_visible_bytes: int | None = None
    gtt_bytes: int | None = None
    gtt_used_bytes: int | None = None
    on_board: bool = False
    product_name: str | None = None


def read_attributes(machine: Machine, card: PciGpu, render_minor: int | None) -> Attributes | None:
    """Read a GPU's attributes by its PCI address, else by its render node. ``None`` where there are none.

    Raises ``ValueError`` for a size that is no number.
    """
    directories = [card.directory, *([f"/sys/class/drm/renderD{render_minor}/device"] if render_minor else [])]
    place = next((place for place in directories if machine.exists(f"{place}/mem_info_gtt_total")), None)
    place = place or next((place for place in directories if machine.exists(f"{place}/mem_info_vram_total")), None)
    if place is None:
        return None
    # Kernels from before 2024 have the file of the vendor for every GPU; in a processor it says "unknown".
    vendor = (machine.read_text(f"{place}/mem_info_vram_vendor") or "").strip()
    return Attributes(
        vram_bytes=read_number(machine, f"{place}/mem_info_vram_total"),
        vram_used_bytes=read_number(machine, f"{place}/mem_info_vram_used"),
        vram_visible_bytes=read_number(machine, f"{place}/mem_info_vis_vram_total"),
        gtt_bytes=read_number(machine, f"{place}/mem_info_gtt_total"),
        gtt_used_bytes=read_number(machine, f"{place}/mem_info_gtt_used"),
        on_board=vendor not in ("", "unknown") or machine.exists(f"{place}/board_info"),
        product_name=(machine.read_text(f"{place}/product_name") or "").strip() or None,
    )


def is_integrated(
    card: PciGpu, nodes: Sequence[Node], seen: Attributes, gfx: str | None, apu: bool | None
) -> bool | None:
    """Tell whether a GPU is a part of the processor; ``None`` where nothing says so or otherwise.

    ``apu`` is what ROCm's programs say. A small share of memory beside a large one that can be mapped is the last
    sign, and no sign for a target that is known: the share may be large, and a card's memory small.
    """
    if seen.on_board:
        return False
    if apu is not None:
        return apu
    if any(node.with_processor for node in nodes) or gfx in APU_TARGETS or card.device_id == _MI300A:
        return True
    if gfx in CARD_TARGETS or _is_behind_a_window(seen):
        return False
    vram, gtt = seen.vram_bytes, seen.gtt_bytes
    if vram is not None and gtt is not None and vram <= 4 * GIB and gtt >= max(8 * GIB, 4 * vram):
        return True
    return None


def _is_behind_a_window(seen: Attributes) -> bool:
    """Tell whether the processor sees a part of the memory only, as it does of a card without a large BAR."""
    vram, visible = seen.vram_bytes, seen.vram_visible_bytes
    return vram is not None and visible is not None and 0 < visible < vram


def describe_memory(
    seen: Attributes, integrated: bool | None, elsewhere_bytes: int | None, available_bytes: int | None
) -> GpuMemory:
    """Return the memory that a GPU has for models.

    A processor's GPU gets the larger of its two pools and never their sum: both are main memory, and a driver
    fills one of them. What is left of the mapped one is also bounded by what main memory has left,
    ``available_bytes``. ``elsewhere_bytes`` is its own memory as others than the driver know it.
    """
    vram = seen.vram_bytes if seen.vram_bytes is not None else elsewhere_bytes
    if not integrated:
        free = _left(vram, seen.vram_used_bytes)
        return GpuMemory("unknown" if integrated is None else "dedicated", vram, free)
    if seen.gtt_bytes is None:
        return GpuMemory("unified")
    if vram is not None and vram >= seen.gtt_bytes:
        return GpuMemory("unified", vram, _left(vram, seen.vram_used_bytes), "vram")
    free = _left(seen.gtt_bytes, seen.gtt_used_bytes)
    if free is not None and available_bytes is not None:
        free = min(free, available_bytes)
    return GpuMemory("unified", seen.gtt_bytes, free, "gtt")


def _left(total: int | None, used: int | None) -> int | None:
    return None if total is None or used is None else max(0, total - used)
