from __future__ import annotations

from collections.abc import Callable

import pytest

from provision.domain.facts import Outcome
from provision.domain.gpu import Gpu, GpuMemory, GpuState, Obstacle
from provision.facts.gpu import amd
from provision.facts.gpu.rocm_tools import AMD_SMI, ROCMINFO
from provision.host.machine import Machine
from tests.standin.gpu_samples import (
    DEVICES,
    KFD_NODES,
    amd_machine,
    device_nodes,
    kfd_node,
    pci_files,
    read_amd,
    sample,
    sysfs,
)

Imagine = Callable[..., Machine]

GIB = 1 << 30
CPU_NODE = sample("amd/kfd/node0_cpu.properties")
RX_7900_XTX = amd_machine("rx7900xtx", "node1_rx7900xtx")
STRIX_HALO = ("strix_halo_bios512m_128g", "node1_strix_halo_8060s")
IDS = """# List of AMDGPU IDs
#
# device_id,\trevision_id,\tproduct_name

1.0.0
1586,\tC1,\tAMD Radeon 8060S Graphics
744C,\tC8,\tAMD Radeon RX 7900 XTX
744C,\tCC,\tAMD Radeon RX 7900 XT
"""


def read_one(machine: Machine, available: int | None = None) -> Gpu:
    (gpu,), _ = read_amd(machine, available)
    return gpu


def test_a_discrete_card_with_everything_in_place(imagine: Imagine) -> None:
    files = {**RX_7900_XTX, "/usr/share/libdrm/amdgpu.ids": IDS, "/sys/module/amdgpu/version": "6.12.12\n"}
    assert read_one(imagine(files)) == Gpu(
        vendor="amd",
        name="AMD Radeon RX 7900 XTX",
        pci="0000:03:00.0",
        arch="gfx1100",
        integrated=False,
        state=GpuState.USABLE,
        apis=("rocm",),
        memory=GpuMemory("dedicated", 24560 << 20, (24560 << 20) - 612368384),
        driver="6.12.12",
        driver_name="amdgpu",
        device_id="1002:744c",
        partitioned=False,
        sources=("pci", "kfd", "amdgpu"),
    )


@pytest.mark.parametrize(
    ("changes", "available", "memory"),
    [
        ({}, 120 * GIB, GpuMemory("unified", 67108864000, 67108864000 - 33554432, "gtt")),
        ({}, 20 * GIB, GpuMemory("unified", 67108864000, 20 * GIB, "gtt")),
        (
            {
                "mem_info_vram_total": str(96 * GIB),
                "mem_info_vram_used": str(GIB),
                "mem_info_gtt_total": str(31 * GIB // 2),
            },
            27 * GIB,
            GpuMemory("unified", 96 * GIB, 95 * GIB, "vram"),
        ),
        (
            {"mem_info_gtt_total": str(120 * GIB), "mem_info_gtt_used": "0"},
            118 * GIB,
            GpuMemory("unified", 120 * GIB, 118 * GIB, "gtt"),
        ),
    ],
    ids=["512 MiB in the firmware", "the same with little left", "a carve-out of 96 GiB", "raised by ttm.pages_limit"],
)
def test_strix_halo_is_counted_from_one_pool(
    changes: dict[str, str], available: int, memory: GpuMemory, imagine: Imagine
) -> None:
    gpu = read_one(imagine(amd_machine(*STRIX_HALO, **changes)), available)
    assert (gpu.arch, gpu.integrated, gpu.apis, gpu.memory) == ("gfx1151", True, ("rocm",), memory)


def test_an_apu_beside_a_card(imagine: Imagine) -> None:
    apu = {"pci": "0000:0e:00.0", "vendor": "0x1002", "device": "0x164e", "class": "0x030000", "driver": "amdgpu"}
    apu |= {"mem_info_vram_total": str(GIB // 2), "mem_info_gtt_total": str(16 * GIB)}
    node = kfd_node(2, sample("amd/kfd/node1_raphael_igpu_gfx1036.properties"))
    (card, part), _ = read_amd(imagine({**RX_7900_XTX, **pci_files(apu, 129), **node, **device_nodes(128, 129)}))
    assert [(gpu.arch, gpu.integrated, gpu.memory.kind) for gpu in (card, part)] == [
        ("gfx1100", False, "dedicated"),
        ("gfx1036", True, "unified"),
    ]


def test_polaris_is_a_card_although_nobody_says_who_made_its_memory(imagine: Imagine) -> None:
    gpu = read_one(imagine(amd_machine("rx580_polaris", "node1_rx580_polaris")))
    assert (gpu.arch, gpu.integrated, gpu.apis) == ("gfx803", False, ("rocm",))
    assert gpu.memory == GpuMemory("dedicated", 8 * GIB, 8 * GIB - 134217728)


def test_a_card_that_kfd_leaves_out_has_no_rocm(imagine: Imagine) -> None:
    """Polaris on a board without PCIe atomics: only Vulkan can use it."""
    gpu = read_one(imagine(amd_machine("rx580_polaris", mem_info_vis_vram_total=str(GIB // 4))))
    assert (gpu.state, gpu.obstacle, gpu.apis, gpu.arch) == (GpuState.DRIVER, Obstacle.NO_API, (), None)
    assert (gpu.integrated, gpu.memory.kind, gpu.partitioned) == (False, "dedicated", None)


def test_eight_mi300x_behind_four_processors(imagine: Imagine) -> None:
    text, tree = sample("amd/kfd/node2_mi300x.properties"), sysfs("amd/drm/mi300x.sysfs")
    files = {path: text for number in range(4) for path, text in kfd_node(number, CPU_NODE).items()}
    for index, number in enumerate(range(4, 12)):
        location, minor = 1280 + (index << 12), 128 + index
        node = text.replace("location_id 1280", f"location_id {location}").replace(
            "render_minor 128", f"render_minor {minor}"
        )
        node = node.replace("unique_id 0", f"unique_id {index + 1}")
        files |= kfd_node(number, node) | pci_files({**tree, "pci": f"0000:{location >> 8:02x}:00.0"}, minor)
    machine = imagine({**files, **device_nodes(*range(128, 136))}, env={"ROCR_VISIBLE_DEVICES": "0,7"})
    gpus, _ = read_amd(machine)
    assert {(gpu.arch, gpu.integrated, gpu.state, gpu.memory.total_bytes) for gpu in gpus} == {
        ("gfx942", False, GpuState.USABLE, 196592 << 20)
    }
    assert [gpu.uuid for gpu in gpus] == [f"GPU-{number:016x}" for number in range(1, 9)]
    assert [gpu.pci for gpu in gpus if not gpu.masked] == ["0000:05:00.0", "0000:75:00.0"]


@pytest.mark.parametrize("location", [lambda part: 1280 | part << 28, lambda part: 1280 | part], ids=["new", "old"])
def test_a_partitioned_mi300x_is_one_card_with_parts(location: Callable[[int], int], imagine: Imagine) -> None:
    text = sample("amd/kfd/node2_mi300x.properties")
    files = amd_machine("mi300x")
    for part in range(8):
        files |= kfd_node(1 + part, text.replace("location_id 1280", f"location_id {location(part)}"))
        files[f"{KFD_NODES}/{1 + part}/mem_banks/0/properties"] = "heap_type 1\nsize_in_bytes 25767706624\n"
    gpu = read_one(imagine(files))
    assert gpu.partitioned is True
    assert [part.memory.total_bytes for part in gpu.instances] == [25767706624] * 8


def test_functions_that_share_a_slot_are_not_parts_of_each_other(imagine: Imagine) -> None:
    """Virtual functions in a guest: the second one is a GPU of its own."""
    text, tree = sample("amd/kfd/node2_mi300x.properties"), sysfs("amd/drm/mi300x.sysfs")
    second = kfd_node(2, text.replace("location_id 1280", "location_id 1281"))
    files = {**amd_machine("mi300x", "node2_mi300x"), **pci_files({**tree, "pci": "0000:05:00.1"}), **second}
    gpus, _ = read_amd(imagine(files))
    assert [(gpu.pci, gpu.partitioned, gpu.instances) for gpu in gpus] == [
        ("0000:05:00.0", False, ()),
        ("0000:05:00.1", False, ()),
    ]


@pytest.mark.parametrize(
    ("driver", "state", "obstacle"),
    [
        ("", GpuState.PRESENT, Obstacle.NO_DRIVER),
        ("vfio-pci", GpuState.PRESENT, Obstacle.PASSED_THROUGH),
        ("radeon", GpuState.DRIVER, Obstacle.LEGACY_DRIVER),
        ("simple-framebuffer", GpuState.PRESENT, Obstacle.UNKNOWN),
    ],
)
def test_drivers_that_cannot_compute(driver: str, state: GpuState, obstacle: Obstacle, imagine: Imagine) -> None:
    (gpu,), probes = read_amd(imagine(amd_machine("radeon_hd7850_legacy_radeon_driver", driver=driver)))
    assert (gpu.state, gpu.obstacle, gpu.apis, gpu.integrated) == (state, obstacle, (), None)
    assert (gpu.driver_name, probes) == (driver or None, [])


def test_the_old_driver_of_hd_7850_is_named(imagine: Imagine) -> None:
    gpu = read_one(imagine(amd_machine("radeon_hd7850_legacy_radeon_driver")))
    assert (gpu.driver_name, gpu.obstacle, gpu.device_id) == ("radeon", Obstacle.LEGACY_DRIVER, "1002:6819")


@pytest.mark.parametrize(
    ("device_id", "revision", "name"),
    [
        (0x744C, 0xC8, "AMD Radeon RX 7900 XTX"),
        (0x744C, 0xCC, "AMD Radeon RX 7900 XT"),
        (0x744C, 0, None),
        (0x744C, None, None),
    ],
)
def test_the_name_depends_on_the_revision(device_id: int, revision: int | None, name: str | None) -> None:
    assert amd.find_name(IDS, device_id, revision) == name


def test_the_board_s_own_name_comes_first(imagine: Imagine) -> None:
    files = {
        **amd_machine("mi300x", "node2_mi300x", product_name="AMD Instinct MI300X OAM"),
        "/usr/share/libdrm/amdgpu.ids": "74A1,\t00,\tX\n",
    }
    (gpu,), probes = read_amd(imagine(files))
    assert gpu.name == "AMD Instinct MI300X OAM"
    assert not {ROCMINFO[0], AMD_SMI[0]} & {probe.name for probe in probes}


@pytest.mark.parametrize("path", [f"{KFD_NODES}/1/properties", f"{DEVICES}/0000:03:00.0/mem_info_vram_total"])
def test_nonsense_fails_its_probe_and_nothing_else(path: str, imagine: Imagine) -> None:
    (gpu,), probes = read_amd(imagine({**RX_7900_XTX, path: "<html>"}))
    assert gpu.pci == "0000:03:00.0"
    assert [probe.outcome for probe in probes].count(Outcome.FAILED) == 1


def test_a_machine_without_amd_is_not_searched(imagine: Imagine) -> None:
    assert read_amd(imagine(kfd_node(0, CPU_NODE))) == ((), [])
