from __future__ import annotations

from collections.abc import Callable

import pytest

from provision.domain.gpu import GpuMemory
from provision.facts.gpu.amd_memory import Attributes, describe_memory, is_integrated, read_attributes
from provision.facts.gpu.kfd import Node
from provision.facts.gpu.pci import AMD, PciGpu
from provision.host.machine import Machine
from tests.standin.gpu_samples import DEVICES, pci_files, sysfs

Imagine = Callable[..., Machine]

GIB = 1 << 30
CARD = PciGpu("0000:03:00.0", AMD, 0x744C, "amdgpu")
MI300A = PciGpu("0000:03:00.0", AMD, 0x74A0, "amdgpu")
OLD_APU = Node(0, CARD.address, with_processor=True)
SMALL_SHARE = Attributes(vram_bytes=2 * GIB, gtt_bytes=16 * GIB)
CARVE_OUT = Attributes(vram_bytes=96 * GIB, gtt_bytes=16 * GIB)
LARGE = Attributes(vram_bytes=8 * GIB, gtt_bytes=8 * GIB)
BOARD = Attributes(vram_bytes=2 * GIB, gtt_bytes=16 * GIB, on_board=True)
WINDOW = Attributes(vram_bytes=2 * GIB, vram_visible_bytes=GIB // 4, gtt_bytes=16 * GIB)


@pytest.mark.parametrize(
    ("card", "seen", "told", "integrated"),
    [
        (CARD, BOARD, ((), None, None), False),
        (CARD, SMALL_SHARE, ((), None, None), True),
        (CARD, SMALL_SHARE, ((), "gfx803", None), False),
        (CARD, WINDOW, ((), None, None), False),
        (CARD, CARVE_OUT, ((), "gfx1151", None), True),
        (CARD, CARVE_OUT, ((), None, True), True),
        (CARD, CARVE_OUT, ((), None, None), None),
        (CARD, LARGE, ((), "gfx803", None), False),
        (CARD, SMALL_SHARE, ((), "gfx1199", False), False),
        (CARD, LARGE, ((OLD_APU,), None, None), True),
        (MI300A, CARVE_OUT, ((), "gfx942", None), True),
        (CARD, CARVE_OUT, ((), "gfx942", None), None),
        (CARD, Attributes(), ((), None, None), None),
    ],
    ids=[
        "a board is known",
        "a small share beside a large one",
        "a small old card in a large machine",
        "behind a window",
        "a large carve-out",
        "a large carve-out, as rocminfo says",
        "a large carve-out of an unknown target",
        "polaris",
        "not an APU, as rocminfo says",
        "a node of processor and GPU",
        "MI300A",
        "MI300 that says nothing else",
        "nothing is known",
    ],
)
def test_a_card_of_its_own_or_a_part_of_the_processor(
    card: PciGpu, seen: Attributes, told: tuple[tuple[Node, ...], str | None, bool | None], integrated: bool | None
) -> None:
    nodes, gfx, apu = told
    assert is_integrated(card, nodes, seen, gfx, apu) is integrated


@pytest.mark.parametrize("vendor", ["unknown", ""])
def test_old_kernels_have_the_vendor_s_file_for_every_gpu(vendor: str, imagine: Imagine) -> None:
    tree = {**sysfs("amd/drm/strix_halo_bios512m_128g.sysfs"), "mem_info_vram_vendor": vendor}
    seen = read_attributes(imagine(pci_files(tree)), PciGpu(tree["pci"], AMD, 0x1586), None)
    assert seen is not None
    assert not seen.on_board


def test_attributes_are_found_through_the_render_node_too(imagine: Imagine) -> None:
    tree = sysfs("amd/drm/mi300x.sysfs")
    place = "/sys/class/drm/renderD128/device"
    files = {f"{place}/{key}": value for key, value in tree.items() if key.startswith("mem_info_")}
    machine, card = imagine({**files, f"{place}/product_name": "\n"}), PciGpu(tree["pci"], AMD, 0x74A1)
    assert read_attributes(machine, card, 128) == Attributes(
        206141652992, 301989888, None, 540917149696, 25165824, on_board=True
    )
    assert read_attributes(machine, card, None) is None


@pytest.mark.parametrize("text", ["-1", "", "0x10", "9" * 19, "<html>"])
def test_a_size_that_is_no_number_is_refused(text: str, imagine: Imagine) -> None:
    files = {f"{DEVICES}/{CARD.address}/mem_info_vram_total": text}
    with pytest.raises(ValueError, match="mem_info_vram_total holds no such number"):
        read_attributes(imagine(files), CARD, None)


@pytest.mark.parametrize(
    ("seen", "integrated", "elsewhere", "available", "memory"),
    [
        (Attributes(24 * GIB, GIB, gtt_bytes=32 * GIB), False, None, None, GpuMemory("dedicated", 24 * GIB, 23 * GIB)),
        (Attributes(24 * GIB, gtt_bytes=32 * GIB), False, None, None, GpuMemory("dedicated", 24 * GIB)),
        (Attributes(GIB, 2 * GIB), False, None, None, GpuMemory("dedicated", GIB, 0)),
        (Attributes(), False, 24 * GIB, None, GpuMemory("dedicated", 24 * GIB)),
        (Attributes(), None, None, GIB, GpuMemory()),
        (Attributes(), True, GIB, GIB, GpuMemory("unified")),
        (
            Attributes(gtt_bytes=16 * GIB, gtt_used_bytes=0),
            True,
            None,
            None,
            GpuMemory("unified", 16 * GIB, 16 * GIB, "gtt"),
        ),
        (Attributes(8 * GIB, 0, None, 8 * GIB, 0), True, None, GIB, GpuMemory("unified", 8 * GIB, 8 * GIB, "vram")),
        (Attributes(GIB, 0, None, 8 * GIB, 0), True, None, 3 * GIB, GpuMemory("unified", 8 * GIB, 3 * GIB, "gtt")),
        (Attributes(GIB, 0, None, 8 * GIB), True, None, 3 * GIB, GpuMemory("unified", 8 * GIB, None, "gtt")),
    ],
    ids=[
        "a card",
        "use unknown",
        "more used than there is",
        "known to KFD alone",
        "nothing known",
        "one pool known",
        "no memory of its own",
        "both the same",
        "main memory is short",
        "use of the pool unknown",
    ],
)
def test_one_pool_and_never_the_sum(
    seen: Attributes, integrated: bool | None, elsewhere: int | None, available: int | None, memory: GpuMemory
) -> None:
    assert describe_memory(seen, integrated, elsewhere, available) == memory
