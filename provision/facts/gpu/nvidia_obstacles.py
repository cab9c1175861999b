"""Where an NVIDIA GPU stopped on its way up, and why: the rules, apart from any reading."""

from __future__ import annotations

from typing import NamedTuple

from provision.domain.gpu import GpuState, Obstacle
from provision.facts.gpu import nvml
from provision.facts.gpu.nvidia_kernel import CONTROL_NODE, Nodes
from provision.facts.gpu.nvml import Refusal
from provision.facts.gpu.rungs import holds_for_guest, is_nouveau

DRIVER = "nvidia"
_OBSTACLES = {
    nvml.MISMATCH: Obstacle.LIBRARY_MISMATCH,
    nvml.TIMED_OUT: Obstacle.TIMEOUT,
    nvml.CRASHED: Obstacle.CRASHED,
    nvml.NO_PERMISSION: Obstacle.NO_PERMISSION,
    nvml.GPU_LOST: Obstacle.LOST,
    nvml.UNKNOWN_ERROR: Obstacle.LOST,
    nvml.NOT_LOADED: Obstacle.NOT_LOADED,
    nvml.NO_LIBRARY: Obstacle.NO_LIBRARY,
}
# What the library says where its device nodes are missing is not the reason.
_BLAME_NODES = (nvml.NOT_LOADED, nvml.NO_LIBRARY, nvml.NO_DEVICES, nvml.NOT_ASKED)


class Stop(NamedTuple):
    """How far a GPU climbed, and why no further; ``group`` may open the device node that this user may not."""

    state: GpuState
    obstacle: Obstacle
    detail: str | None = None
    group: str | None = None


class Evidence(NamedTuple):
    """What surrounds a refusal: versions of the loaded module and of the library, device nodes.

    ``nodes`` is ``None`` on systems that reach their GPU in another way.
    """

    module: str | None = None
    library: str | None = None
    nodes: Nodes | None = None


class Surroundings(NamedTuple):
    """What surrounds a card without NVIDIA's driver: the driver's loaded module, its installed programs."""

    module: str | None = None
    programs: bool = False
    in_container: bool = False
    nodes: bool = False


def without_driver(driver: str | None, around: Surroundings) -> Stop:
    """Say where a card stops that something else than NVIDIA's driver is bound to, or nothing."""
    if is_nouveau(driver):
        return Stop(GpuState.DRIVER, Obstacle.NOUVEAU)
    if holds_for_guest(driver):
        return Stop(GpuState.PRESENT, Obstacle.PASSED_THROUGH)
    if driver is not None:
        return Stop(GpuState.PRESENT, Obstacle.NO_DRIVER, f"bound to {driver}")
    if around.module is not None and around.in_container and not around.nodes:
        return Stop(GpuState.DRIVER, Obstacle.NO_DEVICE_NODES, f"the kernel runs driver {around.module}")
    if around.module is not None:
        return Stop(
            GpuState.PRESENT, Obstacle.NO_DRIVER, f"driver {around.module} is loaded and did not take this card"
        )
    if around.programs and not around.in_container:
        return Stop(GpuState.PRESENT, Obstacle.NOT_LOADED, "the driver is installed, and its kernel module not loaded")
    return Stop(GpuState.PRESENT, Obstacle.NO_DRIVER)


def explain(refusal: Refusal, evidence: Evidence) -> Stop:
    """Say why a card with NVIDIA's driver cannot be used, after the library refused to answer."""
    nodes = evidence.nodes
    obstacle, detail, group = _OBSTACLES.get(refusal.code, Obstacle.UNKNOWN), refusal.message or None, None
    if obstacle is Obstacle.LIBRARY_MISMATCH:
        loaded, library = evidence.module or "an unknown version", evidence.library or "another version"
        detail = f"the kernel runs {loaded}, the library is {library}"
    elif obstacle in (Obstacle.TIMEOUT, Obstacle.CRASHED):
        pass
    elif nodes is not None and nodes.access is not None and not nodes.access.allowed:
        obstacle, detail, group = Obstacle.NO_PERMISSION, CONTROL_NODE, nodes.access.group
    elif nodes is not None and not nodes.visible and refusal.code in _BLAME_NODES:
        obstacle, detail = Obstacle.NO_DEVICE_NODES, f"{CONTROL_NODE} is missing ({refusal.message})"
    return Stop(GpuState.DRIVER, obstacle, detail, group)


def unlisted(refused: tuple[int, ...], node_missing: bool | None, in_container: bool) -> Stop:
    """Say why the library, which answers, does not list a card with NVIDIA's driver.

    ``refused`` are the codes of those that it could not open; ``node_missing`` is ``None`` where the card's device
    node is not known: a container that is shown other GPUs was not given this one.
    """
    if node_missing or (node_missing is None and in_container):
        return Stop(GpuState.DRIVER, Obstacle.NO_DEVICE_NODES, "the driver answers, without this GPU")
    codes = {_OBSTACLES.get(code, Obstacle.UNKNOWN) for code in refused}
    obstacle = codes.pop() if len(codes) == 1 else Obstacle.UNKNOWN
    told = f" (NVML {', '.join(map(str, refused))})" if refused else ""
    return Stop(GpuState.DRIVER, obstacle, f"the driver does not list this GPU{told}")


def choose(first: Refusal, second: Refusal) -> Refusal:
    """Return the more telling of two refusals: a reason that is known, a crash, some other, a missing library.

    ``first`` is the library's own; that it is missing says more than a program that prints nonsense.
    """
    if first.code == nvml.NO_LIBRARY and second.code == nvml.NONSENSE:
        return first
    return min(first, second, key=_vagueness)


def _vagueness(refusal: Refusal) -> int:
    if refusal.code in (nvml.NO_LIBRARY, nvml.NOT_ASKED):
        return 3 + (refusal.code == nvml.NOT_ASKED)
    if refusal.code not in _OBSTACLES:
        return 2
    return int(refusal.code < 0)
