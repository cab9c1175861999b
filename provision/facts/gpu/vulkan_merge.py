"""What Vulkan tells of the GPUs: which of them it can use, and what others could not name.

Without an answer of the loader's, files tell: the driver's manifest, its kernel driver, and the device node.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace

from provision.domain.gpu import Gpu, GpuState, Obstacle, Vulkan, VulkanDevice
from provision.facts.gpu import rungs, vulkan_mask
from provision.facts.gpu.pci import DEVICES
from provision.facts.gpu.vulkan import DUPLICATE, NVK, model_ids
from provision.facts.gpu.vulkan_drivers import has_driver
from provision.facts.links import link_name
from provision.host.machine import Machine

ASKED, BY_FILES = "vulkaninfo", "vulkan-manifests"

# What is in the way of CUDA, ROCm or Level Zero alone: their libraries, or the lack of any such interface.
_OF_COMPUTE = (None, Obstacle.NO_API, Obstacle.NO_LIBRARY)
_OF_NODES = (Obstacle.NO_PERMISSION, Obstacle.NO_DEVICE_NODES)
_DRIVER_SUFFIX = re.compile(r" \((?:RADV|NVK)\b[^()]*\)$")


def merge(machine: Machine, gpus: tuple[Gpu, ...], vulkan: Vulkan) -> tuple[Gpu, ...]:
    """Return ``gpus`` with what Vulkan adds, in their order; no GPU is added or taken away.

    ``vulkan.devices`` are those after ``drop_unsuited``. A GPU that Vulkan can use becomes usable if nothing but its
    compute interface was in the way. These obstacles stay, as Vulkan goes through the same kernel driver and device
    nodes: no driver or one that holds the card for a guest, the old radeon driver, a module that is not loaded or
    does not fit its libraries, a card that was lost, one whose library hung or crashed, NVIDIA's device nodes, and
    partitions (MIG), which have no Vulkan. AMD and Intel need the render node alone, so that /dev/kfd does not
    matter; ``access_group`` keeps who may open it. A GPU that only its render node keeps from Vulkan says so.
    One that an environment variable hides from Vulkan does without.
    """
    found = _assign(gpus, vulkan.devices or ())
    merged = (
        _with_device(gpu, found[at]) if at in found else _by_files(machine, gpu, vulkan) for at, gpu in enumerate(gpus)
    )
    listed = machine.env.get(vulkan_mask.VISIBLE)
    if listed is None:
        return tuple(merged)
    return tuple(
        vulkan_mask.hide(gpu) if _is_hidden(found.get(at), vulkan, listed) else gpu for at, gpu in enumerate(merged)
    )


def _is_hidden(device: VulkanDevice | None, vulkan: Vulkan, listed: str) -> bool:
    """Tell whether nothing that stands for the device is listed. Without devices: whether nothing can be listed."""
    if device is None or vulkan.devices is None:
        return not vulkan_mask.visible(listed, vulkan_mask.MOST_DEVICES)
    same = (other.index for other in vulkan.devices if other.dropped == f"{DUPLICATE}{device.index}")
    return vulkan_mask.visible(listed, len(vulkan.devices)).isdisjoint({device.index, *same})


def _assign(gpus: Sequence[Gpu], devices: Sequence[VulkanDevice]) -> dict[int, VulkanDevice]:
    """Map positions in ``gpus`` to their devices: by PCI address, by NVIDIA's UUID, else by model.

    A model counts only where as many devices of it are left as GPUs: they may be swapped, but none is missing.
    """
    kept = [device for device in devices if device.dropped is None and device.kind != "virtual"]
    found = {}
    for at, gpu in enumerate(gpus):
        device = next((device for device in kept if _is_it(gpu, device)), None)
        if device is not None:
            found[at] = device
            kept.remove(device)
    left = [device for device in kept if device.pci is None]
    models = defaultdict(list)
    for device in left:
        models[model_ids(device)].append(device)
    rest = [(at, gpu.device_id) for at, gpu in enumerate(gpus) if at not in found and gpu.device_id]
    counts = Counter(ids for _, ids in rest)
    for at, ids in rest:
        if counts[ids] == len(models[ids]) > 0:
            counts[ids] -= 1
            found[at] = models[ids].pop(0)
    return found


def _is_it(gpu: Gpu, device: VulkanDevice) -> bool:
    if gpu.pci is not None and device.pci is not None:
        return gpu.pci == device.pci
    uuid = (gpu.uuid or "").lower().removeprefix("gpu-")
    return bool(uuid) and uuid == device.uuid


def _with_device(gpu: Gpu, device: VulkanDevice) -> Gpu:
    name = _DRIVER_SUFFIX.sub("", device.name or "") or None
    integrated = {"discrete": False, "integrated": True}.get(device.kind or "")
    told = replace(
        gpu,
        name=gpu.name or name,
        integrated=integrated if gpu.integrated is None else gpu.integrated,
        sources=(*gpu.sources, ASKED),
    )
    through_nvk = gpu.obstacle is Obstacle.NOUVEAU and device.driver == NVK
    return _usable(told) if through_nvk or _is_open_to_vulkan(gpu) else told


def _is_open_to_vulkan(gpu: Gpu) -> bool:
    """Tell whether nothing is in Vulkan's way, given a loader, a driver and a render node that work."""
    if gpu.state is GpuState.PRESENT or gpu.partitioned:
        return False
    return gpu.obstacle in _OF_COMPUTE or (gpu.obstacle in _OF_NODES and gpu.vendor != "nvidia")


def _usable(gpu: Gpu) -> Gpu:
    apis = gpu.apis if "vulkan" in gpu.apis else (*gpu.apis, "vulkan")
    return replace(gpu, state=GpuState.USABLE, apis=apis, obstacle=None, detail=None)


def _by_files(machine: Machine, gpu: Gpu, vulkan: Vulkan) -> Gpu:
    """Judge a GPU that no device was found for: by files alone where nobody could be asked."""
    if gpu.pci is None or not _is_open_to_vulkan(gpu) or not _has_driver(machine, gpu.pci, vulkan):
        return gpu
    node = rungs.render_node(machine, gpu.pci)
    rung = rungs.check_nodes(machine, (node,)) if node else None
    if rung is not None:
        stopped = gpu.state is not GpuState.USABLE and gpu.obstacle in _OF_COMPUTE
        return replace(gpu, obstacle=rung.obstacle, detail=rung.detail, access_group=rung.group) if stopped else gpu
    if node is None or vulkan.devices is not None:
        return gpu
    return _usable(replace(gpu, sources=(*gpu.sources, BY_FILES)))


def _has_driver(machine: Machine, address: str, vulkan: Vulkan) -> bool:
    """Tell whether there is a loader, and the manifest of a driver for what drives the GPU in the kernel."""
    kernel_driver = link_name(machine, f"{DEVICES}/{address}/driver")
    return vulkan.loader is not None and has_driver(kernel_driver, vulkan.drivers)
