from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provision.domain.gpu import Gpu, GpuState, Obstacle, Vulkan, VulkanDevice
from provision.facts.gpu.vulkan_mask import VISIBLE, visible
from provision.facts.gpu.vulkan_merge import merge
from provision.host.machine import Machine

Imagine = Callable[..., Machine]


@pytest.mark.parametrize(
    ("listed", "shown"),
    [
        ("", set()),
        ("0", {0}),
        ("1,0", {0, 1}),
        (" 2\t0 ,1", {0, 1, 2}),
        ("1,1", {1}),
        ("0,none,1", {0}),
        ("GPU-123", set()),
        ("0x1", {0}),
        ("1.5,2", {1}),
        ("+1", {1}),
        ("3", set()),
        ("0,3", set()),
        ("-1", set()),
        ("-0", {0}),
        ("0,99999999999999999999999", {0}),
        ("9" * 5000, set()),
    ],
)
def test_it_is_a_list_of_numbers_and_a_wrong_one_hides_all(listed: str, shown: set[int]) -> None:
    assert visible(listed, 3) == shown


@given(st.text(alphabet="0123456789,+- x.\u0661") | st.text(), st.integers(0, 4))
def test_any_list_shows_some_of_the_devices(listed: str, count: int) -> None:
    assert visible(listed, count) <= set(range(count))


def card(number: int, *apis: str) -> Gpu:
    state = GpuState.USABLE if apis else GpuState.DRIVER
    obstacle = None if apis else Obstacle.NO_API
    return Gpu("amd", f"card {number}", f"0000:0{number}:00.0", state=state, apis=apis, obstacle=obstacle)


def device(index: int, number: int, dropped: str | None = None) -> VulkanDevice:
    return VulkanDevice(index, f"card {number}", "discrete", pci=f"0000:0{number}:00.0", dropped=dropped)


CARDS = (card(1), card(2, "rocm"))
# As AMDVLK, RADV and llvmpipe list them: a card may be there twice.
DEVICES = (device(0, 1, "duplicate of 2"), device(1, 2), device(2, 1), VulkanDevice(3, dropped="software"))
BOTH = (("vulkan",), ("rocm", "vulkan"))


@pytest.mark.parametrize(
    ("env", "apis"),
    [
        ({}, BOTH),
        ({VISIBLE: "0,1"}, BOTH),
        ({VISIBLE: "2,1"}, BOTH),
        ({VISIBLE: "0"}, (("vulkan",), ("rocm",))),
        ({VISIBLE: "1"}, ((), ("rocm", "vulkan"))),
        ({VISIBLE: "3"}, ((), ("rocm",))),
        ({VISIBLE: "4"}, ((), ("rocm",))),
        ({VISIBLE: ""}, ((), ("rocm",))),
    ],
)
def test_a_gpu_that_is_not_listed_loses_vulkan(
    env: dict[str, str], apis: tuple[tuple[str, ...], ...], imagine: Imagine
) -> None:
    gpus = merge(imagine(env=env), CARDS, Vulkan("l", (), DEVICES))
    assert tuple(gpu.apis for gpu in gpus) == apis
    assert [gpu.masked for gpu in gpus] == [not each for each in apis]
    assert [gpu.state is GpuState.USABLE for gpu in gpus] == [bool(each) for each in apis]
    assert [VISIBLE in (gpu.detail or "") for gpu in gpus] == [not each for each in apis]


@pytest.mark.parametrize(("listed", "hidden"), [("", True), ("-1", True), ("16", True), ("0", False), ("1", False)])
def test_without_devices_only_a_list_of_none_is_certain(listed: str, hidden: bool, imagine: Imagine) -> None:
    device_dir, node = "/sys/bus/pci/devices/0000:01:00.0", "/dev/dri/renderD128"
    files = {f"{device_dir}/driver": "../amdgpu", f"{device_dir}/drm/renderD128/": "", node: ""}
    vulkan = Vulkan("l", ("/usr/share/vulkan/icd.d/radeon_icd.json",))
    (gpu,) = merge(imagine(files, env={VISIBLE: listed}), CARDS[:1], vulkan)
    assert (gpu.apis, gpu.masked) == ((), True) if hidden else (("vulkan",), False)
