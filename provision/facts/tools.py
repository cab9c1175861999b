"""Programs that are there already: engines, what containers run in, vendors' own, what a build needs."""

from __future__ import annotations

from provision.host.machine import Machine

LLAMA_SERVER = "llama-server"
NAMES = (
    *("ollama", LLAMA_SERVER, "vllm", "lms"),
    *("docker", "podman", "nerdctl"),
    *("nvidia-smi", "nvidia-ctk", "rocminfo", "amd-smi", "vulkaninfo"),
    *("cc", "cmake", "uv"),
)
_USUAL_PATH = "/usr/local/bin:/usr/bin:/bin"
_MAX_DIRECTORIES = 64


def read_tools(machine: Machine) -> dict[str, str]:
    """Map each of ``NAMES`` that PATH leads to to its path. Nothing is run, so whether it works is not known."""
    places = _places(machine)
    found = {name: _find(machine, places, name) for name in NAMES}
    return {name: place for name, place in found.items() if place is not None}


def find_tool(machine: Machine, name: str) -> str | None:
    """Return the path of one program, ``None`` where PATH does not lead to it."""
    return _find(machine, _places(machine), name)


def _places(machine: Machine) -> tuple[str, ...]:
    path = machine.env.get("PATH") or _USUAL_PATH
    places = dict.fromkeys(place.rstrip("/") for place in path.split(":") if place.startswith("/"))
    return tuple(places)[:_MAX_DIRECTORIES]


def _find(machine: Machine, places: tuple[str, ...], name: str) -> str | None:
    return next((path for place in places if machine.exists(path := f"{place}/{name}")), None)
