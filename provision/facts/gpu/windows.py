"""GPUs that Windows has and this system, a guest of its own (WSL2), cannot use: known by name only."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from provision.domain.facts import Facts
from provision.domain.gpu import Gpu, GpuState, Obstacle
from provision.facts.gpu import pci
from provision.facts.probing import Recorder
from provision.facts.programs import ask
from provision.host.machine import Machine

POWERSHELL_DIRECTORY = "/mnt/c/Windows/System32/WindowsPowerShell/v1.0"  # on the PATH, unless somebody took it off
_LINES = '{ "Name=$($_.Name);AdapterRAM=$($_.AdapterRAM);DriverVersion=$($_.DriverVersion)" }'
_SCRIPT = f"Get-CimInstance Win32_VideoController | ForEach-Object {_LINES}"
VIDEO_CONTROLLERS = ("powershell.exe", "-NoProfile", "-Command", _SCRIPT)

# AdapterRAM has 32 bits and stops at 4 GiB: no figure of memory.
_LINE = re.compile(
    r"^\ufeff?Name=([^\r\n]{1,300}?);AdapterRAM=[^;\r\n]{0,40};DriverVersion=([^\r\n]{0,100})$", re.MULTILINE
)
_WHY: Mapping[str, str] = {
    "amd": "WSL2 has no KFD, so that ROCm needs AMD's packages for WSL",
    "intel": "Level Zero needs Intel's compute runtime for WSL",
}
_DOZEN = "Vulkan here is Direct3D 12 in disguise (Dozen), no target for computing"


class VideoController(NamedTuple):
    """A display adapter, as Windows names it."""

    name: str
    driver_version: str | None = None


def parse_video_controllers(text: str) -> tuple[VideoController, ...]:
    """Parse the lines that ``VIDEO_CONTROLLERS`` prints. Raises ``ValueError`` where there is none."""
    found = _LINE.findall(text.replace("\r", ""))
    if not found:
        raise ValueError("it lists no display adapter")
    return tuple(VideoController(name.strip(), version.strip() or None) for name, version in found)


def read_names(machine: Machine) -> tuple[VideoController, ...] | None:
    """Ask Windows; ``None`` where its programs cannot be run from here."""
    text = ask(machine, VIDEO_CONTROLLERS, POWERSHELL_DIRECTORY)
    return None if text is None else parse_video_controllers(text)


def read_gpus(machine: Machine, record: Recorder, so_far: Facts) -> tuple[Gpu, ...]:
    """Return AMD's and Intel's GPUs behind WSL2: present, and of no use here.

    Windows is asked, which takes a second, only where it shares a GPU and no NVIDIA GPU answered by itself.
    """
    if not pci.is_shared_by_windows(machine, so_far.os):
        return ()
    if any(gpu.vendor == "nvidia" and gpu.state is GpuState.USABLE for gpu in so_far.gpus):
        return ()
    found = record.run("windows", VIDEO_CONTROLLERS[0], lambda: read_names(machine), tuple[VideoController, ...]())
    gpus = (describe_gpu(controller) for controller in found)
    return tuple(gpu for gpu in gpus if gpu is not None)


def describe_gpu(controller: VideoController) -> Gpu | None:
    """Return the GPU, ``None`` for other vendors' and for adapters that are none."""
    vendor = pci.VENDORS.get(pci.find_vendor(controller.name) or 0)
    if vendor is None or vendor not in _WHY:
        return None
    return Gpu(
        vendor=vendor,
        name=controller.name,
        state=GpuState.PRESENT,
        driver=controller.driver_version,
        driver_name="wddm",
        obstacle=Obstacle.NO_API,
        detail=f"{_WHY[vendor]}; {_DOZEN}",
        sources=("windows",),
    )
