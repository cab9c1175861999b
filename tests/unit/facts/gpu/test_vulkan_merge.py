from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provision.domain.gpu import Gpu, GpuState, Obstacle, Vulkan, VulkanDevice
from provision.facts.gpu.vulkan import drop_unsuited, parse_summary
from provision.facts.gpu.vulkan_merge import merge
from provision.host.machine import Access, Machine

Imagine = Callable[..., Machine]

SAMPLES = Path(__file__).parents[3] / "samples" / "vulkan"
AT = "0000:03:00.0"
AMD = Gpu(
    vendor="amd", pci=AT, device_id="1002:744c", state=GpuState.DRIVER, obstacle=Obstacle.NO_API, detail="no ROCm"
)
NVIDIA = Gpu(vendor="nvidia", pci="0000:01:00.0", device_id="10de:2504", state=GpuState.DRIVER, sources=("pci",))
PCI = "/sys/bus/pci/devices"
NODE = "/dev/dri/renderD128"
DENIED = {NODE: Access(allowed=False, group="render")}
ALL_DRIVERS = tuple(
    f"/usr/share/vulkan/icd.d/{name}_icd.json" for name in ("radeon", "intel", "nvidia", "nouveau", "lvp")
)
FILES_ONLY = Vulkan("/lib/libvulkan.so.1", ALL_DRIVERS)


def listed(name: str, gpus: tuple[Gpu, ...]) -> Vulkan:
    devices = parse_summary((SAMPLES / name).read_text(encoding="utf-8"))
    return Vulkan("/lib/libvulkan.so.1", ALL_DRIVERS, drop_unsuited(devices, gpus))


def card(imagine: Imagine, driver: str, address: str = AT, access: dict[str, Access] | None = None) -> Machine:
    files = {f"{PCI}/{address}/driver": f"../drivers/{driver}", f"{PCI}/{address}/drm/renderD128/": "", NODE: ""}
    return imagine(files, access=access)


def told(gpu: Gpu) -> tuple[GpuState, tuple[str, ...], Obstacle | None]:
    return gpu.state, gpu.apis, gpu.obstacle


USABLE = (GpuState.USABLE, ("vulkan",), None)


def test_a_listed_amd_card_is_usable_without_rocm(imagine: Imagine) -> None:
    (gpu,) = merge(imagine(), (AMD,), listed("summary_radv_rx7900xtx_plus_llvmpipe.txt", (AMD,)))
    assert told(gpu) == USABLE
    assert (gpu.name, gpu.integrated, gpu.detail) == ("AMD Radeon RX 7900 XTX", False, None)
    assert gpu.sources == ("vulkaninfo",)


def test_what_is_known_stays(imagine: Imagine) -> None:
    known = Gpu(
        vendor="amd", name="My card", pci=AT, integrated=True, state=GpuState.USABLE, apis=("rocm",), sources=("kfd",)
    )
    (gpu,) = merge(imagine(), (known,), listed("summary_radv_rx7900xtx_plus_llvmpipe.txt", (known,)))
    assert (gpu.name, gpu.integrated, gpu.apis) == ("My card", True, ("rocm", "vulkan"))
    assert gpu.sources == ("kfd", "vulkaninfo")


def test_an_apu_is_integrated(imagine: Imagine) -> None:
    apu = Gpu(vendor="amd", pci="0000:c6:00.0", device_id="1002:1586", state=GpuState.DRIVER)
    (gpu,) = merge(imagine(), (apu,), listed("summary_radv_strix_halo.txt", (apu,)))
    assert (gpu.name, gpu.integrated, told(gpu)) == ("Radeon 8060S Graphics", True, USABLE)


def test_nvk_frees_a_card_from_the_obstacle_nouveau(imagine: Imagine) -> None:
    nouveau = Gpu(vendor="nvidia", device_id="10de:2504", state=GpuState.DRIVER, obstacle=Obstacle.NOUVEAU)
    vulkan = listed("summary_nvk_rtx3060.txt", (nouveau,))
    assert [told(gpu) for gpu in merge(imagine(), (nouveau,), vulkan)] == [USABLE]
    assert merge(imagine(), (nouveau,), vulkan)[0].name == "NVIDIA GeForce RTX 3060"
    assert merge(card(imagine, "nouveau"), (nouveau,), FILES_ONLY) == (nouveau,)


def test_a_device_is_found_by_uuid(imagine: Imagine) -> None:
    uuid = "6f3c1a52-0b7e-4c11-9d40-5a2e6b81c0d3"
    twins = tuple(
        Gpu(vendor="nvidia", uuid=each, device_id="10de:2684", state=GpuState.USABLE, apis=("cuda",))
        for each in ("GPU-ffffffff-0b7e-4c11-9d40-5a2e6b81c0d3", f"GPU-{uuid}")
    )
    merged = merge(imagine(), twins, listed("summary_nvidia_rtx4090_plus_uhd_llvmpipe.txt", twins))
    assert [gpu.apis for gpu in merged] == [("cuda",), ("cuda", "vulkan")]


def device(index: int, **fields: object) -> VulkanDevice:
    whole = {"name": "card", "kind": "discrete", "vendor_id": 0x10DE, "device_id": 0x2504, **fields}
    return VulkanDevice(index=index, **whole)  # type: ignore[arg-type]


def test_a_model_is_enough_where_none_is_missing(imagine: Imagine) -> None:
    twins = (NVIDIA, Gpu(vendor="nvidia", pci="0000:02:00.0", device_id="10de:2504", state=GpuState.DRIVER))
    both = Vulkan("l", (), (device(0), device(1)))
    assert [told(gpu) for gpu in merge(imagine(), twins, both)] == [USABLE, USABLE]
    assert merge(imagine(), twins, Vulkan("l", (), (device(0),))) == twins
    elsewhere = Vulkan("l", (), (device(0, pci="0000:09:00.0"),))
    assert merge(imagine(), (NVIDIA,), elsewhere) == (NVIDIA,)


@pytest.mark.parametrize("fields", [{"kind": "virtual"}, {"dropped": "duplicate of 1"}])
def test_devices_that_do_not_count_add_nothing(fields: dict[str, str], imagine: Imagine) -> None:
    assert merge(imagine(), (NVIDIA,), Vulkan("l", (), (device(0, **fields),))) == (NVIDIA,)


OBSTACLES = {
    "amd": {Obstacle.NO_API, Obstacle.NO_LIBRARY, Obstacle.NO_PERMISSION, Obstacle.NO_DEVICE_NODES},
    "nvidia": {Obstacle.NO_API, Obstacle.NO_LIBRARY},
}


@pytest.mark.parametrize("vendor", OBSTACLES)
@pytest.mark.parametrize("obstacle", Obstacle)
def test_only_obstacles_of_the_compute_interface_go_away(vendor: str, obstacle: Obstacle, imagine: Imagine) -> None:
    gpu = Gpu(vendor=vendor, device_id="10de:2504", state=GpuState.DRIVER, obstacle=obstacle, access_group="render")
    (merged,) = merge(imagine(), (gpu,), Vulkan("l", (), (device(0),)))
    cleared = obstacle in OBSTACLES[vendor]
    assert told(merged) == (USABLE if cleared else (GpuState.DRIVER, (), obstacle))
    assert (merged.name, merged.access_group) == ("card", "render")


def test_neither_a_card_without_driver_nor_a_partitioned_one(imagine: Imagine) -> None:
    bare = Gpu(vendor="nvidia", device_id="10de:2504", obstacle=Obstacle.NO_API)
    parted = Gpu(vendor="nvidia", device_id="10de:2504", state=GpuState.USABLE, apis=("cuda",), partitioned=True)
    for gpu in (bare, parted):
        (merged,) = merge(imagine(), (gpu,), Vulkan("l", (), (device(0),)))
        assert (merged.state, merged.apis) == (gpu.state, gpu.apis)


@pytest.mark.parametrize(
    ("driver", "drivers", "usable"),
    [
        ("amdgpu", ("/etc/vulkan/icd.d/radeon_icd.x86_64.json",), True),
        ("amdgpu", ("/etc/vulkan/icd.d/intel_icd.x86_64.json",), False),
        ("radeon", ALL_DRIVERS, False),
        ("xe", ("/x/intel_icd.json",), True),
        ("xe", ("/x/intel_hasvk_icd.json",), False),
        ("i915", ("/x/intel_hasvk_icd.json",), True),
        ("nvidia", ("/x/nvidia_icd.json",), True),
        ("nouveau", ALL_DRIVERS, False),
        ("vfio-pci", ALL_DRIVERS, False),
    ],
)
def test_files_alone_where_nobody_could_be_asked(
    driver: str, drivers: tuple[str, ...], usable: bool, imagine: Imagine
) -> None:
    (gpu,) = merge(card(imagine, driver), (AMD,), Vulkan("/lib/libvulkan.so.1", drivers))
    assert told(gpu) == (USABLE if usable else told(AMD))
    assert gpu.sources == (("vulkan-manifests",) if usable else ())


@pytest.mark.parametrize(
    "vulkan",
    [Vulkan(None, ALL_DRIVERS), Vulkan("/lib/libvulkan.so.1"), Vulkan("/lib/libvulkan.so.1", ALL_DRIVERS, ())],
    ids=["no loader", "no manifest", "asked, and there is none"],
)
def test_files_that_are_not_enough(vulkan: Vulkan, imagine: Imagine) -> None:
    assert merge(card(imagine, "amdgpu"), (AMD,), vulkan) == (AMD,)


@pytest.mark.parametrize("vulkan", [FILES_ONLY, Vulkan(FILES_ONLY.loader, ALL_DRIVERS, ())])
def test_a_render_node_that_this_user_may_not_open(vulkan: Vulkan, imagine: Imagine) -> None:
    (gpu,) = merge(card(imagine, "amdgpu", access=DENIED), (AMD,), vulkan)
    assert (gpu.state, gpu.apis, gpu.obstacle) == (GpuState.DRIVER, (), Obstacle.NO_PERMISSION)
    assert (gpu.access_group, gpu.detail) == ("render", NODE)


def test_a_render_node_that_a_container_was_not_given(imagine: Imagine) -> None:
    machine = imagine({f"{PCI}/{AT}/driver": "amdgpu", f"{PCI}/{AT}/drm/renderD128/": ""})
    (gpu,) = merge(machine, (AMD,), FILES_ONLY)
    assert (gpu.obstacle, gpu.detail) == (Obstacle.NO_DEVICE_NODES, NODE)


def test_the_compute_node_does_not_matter_to_vulkan(imagine: Imagine) -> None:
    kfd = Gpu(vendor="amd", pci=AT, state=GpuState.DRIVER, obstacle=Obstacle.NO_PERMISSION, detail="/dev/kfd")
    (gpu,) = merge(card(imagine, "amdgpu"), (kfd,), FILES_ONLY)
    assert told(gpu) == USABLE
    (gpu,) = merge(card(imagine, "amdgpu", access=DENIED), (kfd,), FILES_ONLY)
    assert gpu == kfd


numbers = st.sampled_from([None, 0x10DE, 0x1002, 0x2504])
devices = st.builds(
    VulkanDevice,
    index=st.integers(0, 9),
    kind=st.sampled_from(["discrete", "virtual", None]),
    vendor_id=numbers,
    device_id=numbers,
    pci=st.sampled_from([None, AT]),
)
cards = st.builds(
    Gpu,
    pci=st.sampled_from([None, AT]),
    device_id=st.sampled_from([None, "10de:2504"]),
    state=st.sampled_from(GpuState),
    obstacle=st.none() | st.sampled_from(Obstacle),
)


@given(st.lists(cards, max_size=4), st.none() | st.lists(devices, max_size=4, unique_by=lambda each: each.index))
def test_merging_never_takes_anything_away(imagine: Imagine, gpus: list[Gpu], found: list[VulkanDevice] | None) -> None:
    vulkan = Vulkan("l", ALL_DRIVERS, None if found is None else drop_unsuited(found, gpus))
    merged = merge(card(imagine, "amdgpu"), tuple(gpus), vulkan)
    assert [gpu.pci for gpu in merged] == [gpu.pci for gpu in gpus]
    for before, after in zip(gpus, merged, strict=True):
        assert set(before.apis) <= set(after.apis)
        assert ("vulkan" in after.apis) <= (after.state is GpuState.USABLE and after.obstacle is None)
