"""All GPUs of a machine: what each vendor's sources say, merged, and asked side by side where programs are run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

from provision.domain.facts import Facts
from provision.domain.gpu import Gpu, ListedDevice, Vulkan
from provision.facts.gpu import pci
from provision.facts.gpu.pci import PciGpu
from provision.facts.probing import Recorder
from provision.facts.tools import LLAMA_SERVER, find_tool
from provision.host.machine import Machine

ReadGpus = Callable[[Recorder], tuple[Gpu, ...]]


class Graphics(NamedTuple):
    """The GPUs, what is there of Vulkan, and what an installed engine lists; ``None`` where none was asked."""

    gpus: tuple[Gpu, ...] = ()
    vulkan: Vulkan = Vulkan()
    listed: tuple[ListedDevice, ...] | None = None


def read_graphics(machine: Machine, record: Recorder, so_far: Facts) -> Graphics:
    """Return every GPU of a Linux machine. ``so_far`` holds what is known of the rest.

    Without a GPU on the bus, or a sign of one that the bus does not show, this costs one listing of a directory.
    """
    cards = record.run("pci", pci.DEVICES, lambda: pci.read_gpus(machine), tuple[PciGpu, ...]())
    in_wsl = pci.is_shared_by_windows(machine, so_far.os)
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

    from provision.facts.gpu import listed_devices, vulkan, vulkan_drivers, vulkan_merge

    found = record.run("vulkan", "the Vulkan loader", lambda: vulkan_drivers.read_loader(machine, so_far), Vulkan())
    records = [Recorder() for _ in (*readers, None, None)]  # one each, so that their order is always the same
    with ThreadPoolExecutor(max_workers=len(records)) as pool:
        asked = engine = None
        if ask_vulkan and found.loader:
            ask = records[-2].run
            asked = pool.submit(ask, "vulkaninfo", "vulkaninfo", lambda: vulkan.read_devices(machine), None)
        if find_tool(machine, LLAMA_SERVER):
            ask = records[-1].run
            engine = pool.submit(ask, LLAMA_SERVER, "its devices", lambda: listed_devices.read_devices(machine), None)
        read = [pool.submit(reader, own) for reader, own in zip(readers, records, strict=False)]
        try:
            gpus = tuple(sorted((gpu for each in read for gpu in each.result()), key=lambda gpu: gpu.pci or ""))
            devices, listed = asked.result() if asked else None, engine.result() if engine else None
        except BaseException:  # Ctrl-C does not wait for a driver that hangs
            machine.interrupt()
            raise
    for own in records:
        record.probes += own.probes
    if devices is not None:
        found = replace(found, devices=vulkan.drop_unsuited(devices, gpus))
    merged = vulkan_merge.merge(machine, gpus, found)
    return Graphics(listed_devices.fill_free(merged, listed or ()), found, listed)


def _with_windows(machine: Machine, record: Recorder, so_far: Facts, found: Graphics) -> Graphics:
    """Add the GPUs that Windows names and nothing here answers for."""
    from provision.facts.gpu import windows

    answered = {gpu.vendor for gpu in found.gpus}
    named = windows.read_gpus(machine, record, replace(so_far, gpus=found.gpus))
    return found._replace(gpus=(*found.gpus, *(gpu for gpu in named if gpu.vendor not in answered)))
