"""All GPUs of a machine: what each vendor's sources say, merged, and asked side by side where programs are run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

from provision.domain.facts import Facts, Gpu, Vulkan
from provision.facts.gpu import pci
from provision.facts.gpu.pci import PciGpu
from provision.facts.probing import Recorder
from provision.host.machine import Machine

PARAVIRTUAL_GPU = "/dev/dxg"  # how WSL 2 hands the GPUs of Windows through
ReadGpus = Callable[[Recorder], tuple[Gpu, ...]]


class Graphics(NamedTuple):
    """The GPUs, and what is there of Vulkan."""

    gpus: tuple[Gpu, ...] = ()
    vulkan: Vulkan = Vulkan()


def read_graphics(machine: Machine, record: Recorder, so_far: Facts) -> Graphics:
    """Return every GPU of a Linux machine. ``so_far`` holds what is known of the rest.

    Without a GPU on the bus, or a sign of one that the bus does not show, this costs one listing of a directory.
    """
    cards = record.run("pci", pci.DEVICES, lambda: pci.read_gpus(machine), tuple[PciGpu, ...]())
    in_wsl = so_far.os.wsl == 2 and machine.exists(PARAVIRTUAL_GPU)
    on_tegra = so_far.os.arch == "aarch64" and _is_tegra(machine)
    readers = list(_readers(machine, cards, so_far, in_wsl=in_wsl, on_tegra=on_tegra))
    if not readers:
        return Graphics()
    found = _gather(machine, record, so_far, readers, ask_vulkan=any(card.driver for card in cards))
    return _with_windows(machine, record, so_far, found) if in_wsl else found


def _is_tegra(machine: Machine) -> bool:
    from provision.facts.gpu import tegra

    return tegra.is_board(machine)


def _readers(
    machine: Machine, cards: Sequence[PciGpu], so_far: Facts, *, in_wsl: bool, on_tegra: bool
) -> Iterator[ReadGpus]:
    """Yield what reads the GPUs of each vendor that may be there; another vendor's code is not even loaded."""
    vendors = {card.vendor_id for card in cards}
    if pci.NVIDIA in vendors or in_wsl or on_tegra:
        from provision.facts.gpu import nvidia

        yield lambda record: nvidia.read_gpus(machine, record, cards, so_far)
    if pci.AMD in vendors or in_wsl:
        from provision.facts.gpu import amd

        yield lambda record: amd.read_gpus(machine, record, cards, so_far)
    if pci.INTEL in vendors:
        from provision.facts.gpu import intel

        yield lambda record: intel.read_gpus(machine, record, cards, so_far)


def _gather(
    machine: Machine, record: Recorder, so_far: Facts, readers: Sequence[ReadGpus], *, ask_vulkan: bool
) -> Graphics:
    """Run all readers and the Vulkan probe side by side, then put together what they found."""
    from concurrent.futures import ThreadPoolExecutor

    from provision.facts.gpu import vulkan, vulkan_drivers, vulkan_merge

    found = record.run("vulkan", "the Vulkan loader", lambda: vulkan_drivers.read_loader(machine, so_far), Vulkan())
    records = [Recorder() for _ in (*readers, None)]  # one each, so that their order is always the same
    with ThreadPoolExecutor(max_workers=len(records)) as pool:
        asked = None
        if ask_vulkan and found.loader:
            ask = records[-1].run
            asked = pool.submit(ask, "vulkaninfo", "vulkaninfo", lambda: vulkan.read_devices(machine), None)
        read = [pool.submit(reader, own) for reader, own in zip(readers, records, strict=False)]
        gpus = tuple(sorted((gpu for each in read for gpu in each.result()), key=lambda gpu: gpu.pci or ""))
        devices = asked.result() if asked else None
    for own in records:
        record.probes += own.probes
    if devices is not None:
        found = replace(found, devices=vulkan.drop_unsuited(devices, gpus))
    return Graphics(vulkan_merge.merge(machine, gpus, found), found)


def _with_windows(machine: Machine, record: Recorder, so_far: Facts, found: Graphics) -> Graphics:
    """Add the GPUs that Windows names and nothing here answers for."""
    from provision.facts.gpu import windows

    answered = {gpu.vendor for gpu in found.gpus}
    named = windows.read_gpus(machine, record, replace(so_far, gpus=found.gpus))
    return Graphics((*found.gpus, *(gpu for gpu in named if gpu.vendor not in answered)), found.vulkan)
