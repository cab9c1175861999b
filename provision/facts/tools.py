"""Programs that are there already: engines, what containers run in, vendors' own, what a build needs."""

from __future__ import annotations

from provision.host.machine import Machine

NAMES = (
    *("ollama", "llama-server", "vllm", "lms"),
    *("docker", "podman", "nerdctl"),
    *("nvidia-smi", "nvidia-ctk", "rocminfo", "amd-smi", "vulkaninfo"),
    *("cc", "cmake", "uv"),
)
_USUAL_PATH = "/usr/local/bin:/usr/bin:/bin"
_MAX_DIRECTORIES = 64


def read_tools(machine: Machine) -> dict[str, str]:
    """Map each of ``NAMES`` that PATH leads to to its path. Nothing is run, so whether it works is not known."""
    path = machine.env.get("PATH") or _USUAL_PATH
    places = dict.fromkeys(place.rstrip("/") for place in path.split(":") if place.startswith("/"))
    found = {name: _find(machine, tuple(places)[:_MAX_DIRECTORIES], name) for name in NAMES}
    return {name: place for name, place in found.items() if place is not None}


def _find(machine: Machine, places: tuple[str, ...], name: str) -> str | None:
    return next((path for place in places if machine.exists(path := f"{place}/{name}")), None)
