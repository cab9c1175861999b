"""NVIDIA's GPUs: the bus shows a card, the kernel its driver, NVIDIA's library whether it can be used.

Each is asked only where the one before gave reason to.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple

from provision.domain.facts import Facts
from provision.domain.gpu import Gpu, GpuState
from provision.facts.gpu import nvidia_kernel, nvidia_library, nvidia_mask, nvml, pci, tegra
from provision.facts.gpu.nvidia_kernel import Information
from provision.facts.gpu.nvidia_merge import describe, host_memory, pair
from provision.facts.gpu.nvidia_obstacles import DRIVER, Evidence, Stop, Surroundings, explain, unlisted, without_driver
from provision.facts.gpu.nvml import Answer, Device, Refusal
from provision.facts.probing import Recorder
from provision.host.machine import Machine

WSL_LIBRARY = f"{nvml.WSL_LIBRARIES}/{nvidia_kernel.LIBRARY}"
SMI_PATH = "/usr/bin/nvidia-smi"
_DRIVERS = (DRIVER, tegra.DRIVER)
_MASKS = (nvidia_mask.VISIBLE, nvidia_mask.RUNTIME)


class _Scene(NamedTuple):
    """What is known before the library is asked: the loaded module's version, and where the GPU is off the bus."""

    machine: Machine
    record: Recorder
    facts: Facts
    module: str | None
    board: tegra.Board | None
    in_wsl: bool

    @property
    def in_container(self) -> bool:
        return self.facts.os.container is not None


def read_gpus(machine: Machine, record: Recorder, cards: Sequence[pci.PciGpu], so_far: Facts) -> tuple[Gpu, ...]:
    """Return every NVIDIA GPU of this machine, and where each one's climb ended; never raises.

    ``cards`` are the PCI GPUs of all vendors, ``so_far`` holds the operating system and main memory. No program
    runs unless NVIDIA's driver is there, or the sign of a GPU off the bus: that of WSL 2, or of Jetson.
    """
    seen = [_of_card(card) for card in cards if card.vendor_id == pci.NVIDIA] or _of_driver(machine)
    in_wsl = pci.is_shared_by_windows(machine, so_far.os)
    on_board = tegra.is_board(machine)
    if not (seen or in_wsl or on_board):
        return ()
    module = record.run("nvidia-module", nvidia_kernel.MODULE, lambda: nvidia_kernel.read_version(machine), None)
    board = record.run("tegra", tegra.RELEASE, lambda: tegra.read_board(machine), tegra.Board()) if on_board else None
    scene = _Scene(machine, record, so_far, module, board, in_wsl)
    if board is not None and not seen:
        seen = [_of_board(scene, board)]
    gpus = _climb(scene, seen)
    if not any(name in machine.env for name in _MASKS):
        return tuple(gpus)
    masked = partial(nvidia_mask.mask, gpus, machine.env, scene.in_container)
    return record.run("nvidia-mask", nvidia_mask.VISIBLE, masked, nvidia_mask.may_hide(gpus))


def _of_card(card: pci.PciGpu) -> Gpu:
    return Gpu(vendor="nvidia", pci=card.address, device_id=card.ids, driver_name=card.driver, sources=("pci",))


def _of_driver(machine: Machine) -> list[Gpu]:
    """Return the cards that the driver lists: a sandbox may hide the bus and leave /proc."""
    names = machine.list_dir(nvidia_kernel.PROC_GPUS)[: nvml.MAX_DEVICES]
    return [Gpu(vendor="nvidia", pci=name, driver_name=DRIVER) for name in names]


def _of_board(scene: _Scene, board: tegra.Board) -> Gpu:
    """Return a processor's GPU. From Thor on it has the driver of cards; before, that one shows pictures only."""
    thor = scene.module is not None and not scene.machine.exists(tegra.MODULE)
    return Gpu(
        vendor="nvidia",
        name=board.name,
        integrated=True,
        memory=host_memory(scene.facts.memory),
        driver_name=DRIVER if thor else tegra.DRIVER,
        sources=("tegra",),
    )


def _climb(scene: _Scene, seen: Sequence[Gpu]) -> list[Gpu]:
    bound = [gpu for gpu in seen if gpu.driver_name in _DRIVERS]
    gpus = [_stopped(gpu, _without_driver(scene, gpu)) for gpu in seen if gpu not in bound]
    if bound or scene.in_wsl:
        reply = nvidia_library.ask(scene.machine, scene.record, scene.in_wsl)
        if isinstance(reply.content, Refusal):
            asked = _refused(scene, bound, reply.content, reply.library)
        else:
            pairs = pair(bound, reply.content.devices)
            asked = [_answered(scene, gpu, device, reply.content, reply.sources) for gpu, device in pairs]
        uvm = None if scene.in_wsl or scene.board else scene.machine.exists(nvidia_kernel.UVM_NODE)
        gpus += [replace(gpu, uvm=uvm) for gpu in asked]
    return sorted(gpus, key=lambda gpu: gpu.pci or "")


def _answered(scene: _Scene, gpu: Gpu | None, device: Device | None, answer: Answer, sources: tuple[str, ...]) -> Gpu:
    known = gpu or Gpu(vendor="nvidia", driver_name=DRIVER)
    if device is None:
        known, information = _informed(scene, known)
        stop = unlisted(answer.refused, _node_missing(scene, information), scene.in_container)
        return replace(_stopped(known, stop), driver=scene.module)
    if device.name is None or device.uuid is None:
        known, _ = _informed(scene, known)
    known = describe(known, device, answer, scene.facts.memory)
    driver, sources = known.driver or scene.module, (*known.sources, *sources)
    return replace(known, l4t=_release(scene, known), driver=driver, sources=sources)


def _refused(scene: _Scene, bound: Sequence[Gpu], refusal: Refusal, library: str | None) -> list[Gpu]:
    """Say of every GPU why. Windows' library in WSL is the sign of one that nothing else there shows."""
    if refusal.code in (nvml.NO_LIBRARY, nvml.NOT_ASKED) and bound and bound[0].pci is None:
        return [_on_old_board(scene, bound[0])]
    if not bound and scene.machine.exists(WSL_LIBRARY):
        bound = [Gpu(vendor="nvidia", driver_name=DRIVER, sources=("wsl",))]
    nodes = None if scene.in_wsl or scene.board else nvidia_kernel.read_nodes(scene.machine)
    if refusal.code == nvml.MISMATCH:
        system = scene.facts.os
        library = nvidia_kernel.read_library_version(scene.machine, system.arch, system.libc.name) or library
    stop = explain(refusal, Evidence(scene.module, library, nodes))
    gpus = [_stopped(_informed(scene, gpu)[0], stop) for gpu in bound]
    return [replace(gpu, driver=scene.module, l4t=_release(scene, gpu)) for gpu in gpus]


def _on_old_board(scene: _Scene, gpu: Gpu) -> Gpu:
    """Before JetPack 6 there is no NVML: the driver's nodes and CUDA's library have to do."""
    gpu, stop = replace(gpu, l4t=_release(scene, gpu)), tegra.check(scene.machine)
    if stop is None:
        return replace(gpu, state=GpuState.USABLE, apis=("cuda",))
    return replace(_stopped(gpu, stop), driver_name=gpu.driver_name if stop.state is GpuState.DRIVER else None)


def _release(scene: _Scene, gpu: Gpu) -> str | None:
    return scene.board.l4t if scene.board and gpu.integrated else None


def _without_driver(scene: _Scene, gpu: Gpu) -> Stop:
    machine, nodes = scene.machine, nvidia_kernel.read_nodes(scene.machine)
    around = Surroundings(scene.module, machine.exists(SMI_PATH), scene.in_container, nodes.visible)
    return without_driver(gpu.driver_name, around)


def _stopped(gpu: Gpu, stop: Stop) -> Gpu:
    return replace(gpu, state=stop.state, obstacle=stop.obstacle, detail=stop.detail, access_group=stop.group)


def _informed(scene: _Scene, gpu: Gpu) -> tuple[Gpu, Information | None]:
    """Fill in the name and the UUID that the driver keeps in /proc, which needs no library."""
    address = gpu.pci
    path = f"{nvidia_kernel.PROC_GPUS}/{address}"
    if address is None or not scene.machine.exists(path):
        return gpu, None
    read = partial(nvidia_kernel.read_information, scene.machine, address)
    found = scene.record.run("nvidia-proc", path, read, None)
    if found is None:
        return gpu, None
    known = replace(gpu, name=gpu.name or found.model, uuid=gpu.uuid or found.uuid, sources=(*gpu.sources, "proc"))
    return known, found


def _node_missing(scene: _Scene, information: Information | None) -> bool | None:
    if information is None or information.minor is None:
        return None
    return scene.machine.access(f"/dev/nvidia{information.minor}") is None
