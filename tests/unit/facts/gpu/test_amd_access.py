from __future__ import annotations

from collections.abc import Callable

import pytest

from provision.domain.gpu import Gpu, GpuState, Obstacle
from provision.host.machine import Access, Machine
from tests.standin.gpu_samples import KFD_NODES, amd_machine, listed_access, read_amd

Imagine = Callable[..., Machine]

RX_7900_XTX = amd_machine("rx7900xtx", "node1_rx7900xtx")
PERMISSIONS = "amd/dev_nodes_permissions.txt"


def read_one(machine: Machine) -> Gpu:
    (gpu,), _ = read_amd(machine)
    return gpu


def test_who_is_in_the_group_may_compute(imagine: Imagine) -> None:
    gpu = read_one(imagine(RX_7900_XTX, access=listed_access(PERMISSIONS, (992,))))
    assert (gpu.state, gpu.apis, gpu.access_group) == (GpuState.USABLE, ("rocm",), None)


def test_who_is_not_is_told_the_group_and_the_nodes(imagine: Imagine) -> None:
    gpu = read_one(imagine(RX_7900_XTX, access=listed_access(PERMISSIONS, (44,))))
    assert (gpu.state, gpu.obstacle, gpu.apis) == (GpuState.DRIVER, Obstacle.NO_PERMISSION, ())
    assert (gpu.access_group, gpu.detail) == ("992", "/dev/kfd, /dev/dri/renderD128")


def test_the_render_node_alone_is_not_enough(imagine: Imagine) -> None:
    gpu = read_one(imagine(RX_7900_XTX, access={"/dev/kfd": Access(allowed=False, group="render")}))
    assert (gpu.obstacle, gpu.access_group, gpu.detail) == (Obstacle.NO_PERMISSION, "render", "/dev/kfd")


@pytest.mark.parametrize("hidden", [False, True], ids=["readable", "hidden by the container's rules"])
def test_a_container_started_without_the_gpu(hidden: bool, imagine: Imagine) -> None:
    files = {path: text for path, text in RX_7900_XTX.items() if not path.startswith("/dev/")}
    if hidden:
        del files[f"{KFD_NODES}/1/properties"]
        files[f"{KFD_NODES}/1/"] = ""
    gpu = read_one(imagine(files))
    assert (gpu.state, gpu.obstacle) == (GpuState.DRIVER, Obstacle.NO_DEVICE_NODES)
    assert gpu.detail == "/dev/kfd, /dev/dri/renderD128"


def test_nodes_that_are_there_and_forbidden_by_the_container_s_rules(imagine: Imagine) -> None:
    files = {path: text for path, text in RX_7900_XTX.items() if not path.startswith(f"{KFD_NODES}/1/")}
    gpu = read_one(imagine({**files, f"{KFD_NODES}/1/": ""}))
    assert (gpu.state, gpu.obstacle, gpu.access_group) == (GpuState.DRIVER, Obstacle.NO_PERMISSION, None)
