"""The environment variable that hides devices from ggml's Vulkan back end, read as that reads it."""

from __future__ import annotations

import re
from dataclasses import replace

from provision.domain.gpu import Gpu, GpuState, Obstacle

VISIBLE = "GGML_VK_VISIBLE_DEVICES"
MOST_DEVICES = 16  # that the back end has room for
_ENTRY = re.compile(r"([+-]?)([0-9]{1,30})(.*)", re.DOTALL)
_TOO_LARGE = 1 << 64  # a number that is none to it


def visible(listed: str, count: int) -> frozenset[int]:
    """Return the raw numbers that stay of ``count`` devices; ``listed`` has commas or white space between numbers.

    It ends at the first entry that is no number. A number that no device has keeps the back end from starting.
    """
    shown = set()
    for entry in listed.replace(",", " ").split():
        match = _ENTRY.match(entry)
        if match is None or int(match[2]) >= _TOO_LARGE:
            break
        number = int(match[2])
        if number >= count or (number and match[1] == "-"):
            return frozenset()
        shown.add(number)
        if match[3]:
            break
    return frozenset(shown)


def hide(gpu: Gpu) -> Gpu:
    """Return ``gpu`` without Vulkan. It counts as hidden where that was the only way to use it."""
    left = tuple(api for api in gpu.apis if api != "vulkan")
    if left == gpu.apis:
        return gpu
    if left:
        return replace(gpu, apis=left)
    told = f"{VISIBLE} hides it"
    return replace(gpu, state=GpuState.DRIVER, apis=(), obstacle=Obstacle.NO_API, detail=told, masked=True)
