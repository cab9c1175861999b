"""What there is of Vulkan, without running anything: the loader, and the manifests of the drivers that it would load.

The search is the one that the Vulkan loader's documentation gives (LoaderDriverInterface).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from posixpath import basename, dirname, join, normpath
from typing import NamedTuple

from provision.domain.facts import Facts
from provision.domain.gpu import Vulkan
from provision.facts import libraries
from provision.facts.json_text import parse_object
from provision.host.machine import Machine

LOADER = "libvulkan.so.1"
ONLY_THESE = ("VK_DRIVER_FILES", "VK_ICD_FILENAMES")  # the second is the old name, and yields to the first
THESE_TOO = "VK_ADD_DRIVER_FILES"
# Kernel driver: the beginnings of the names of the manifests that work on every GPU of its. Not nouveau, for NVK leaves
# out the older half of them, nor AMDVLK's (amd_icd), which left Polaris and Vega: there only the loader can tell.
BY_KERNEL_DRIVER: Mapping[str, tuple[str, ...]] = {
    "amdgpu": ("radeon_icd",),
    "i915": ("intel_icd", "intel_hasvk"),
    "xe": ("intel_icd",),
    "nvidia": ("nvidia_icd",),
}

_MAX_MANIFESTS = 100
_ARCH_IN_NAME = re.compile(r"\.(i[3-6]86|x86_64|aarch64|armv?\w*)\.json")
_64_BIT = ("x86_64", "aarch64")


class Manifest(NamedTuple):
    """What a driver's manifest says: its library as written there, and for how many bits, where it tells."""

    library: str
    bits: str | None = None


def read_loader(machine: Machine, so_far: Facts) -> Vulkan | None:
    """Return the loader and the manifests whose library is there, in the loader's order; ``devices`` is not asked.

    ``None`` where there is neither. Manifests of another architecture, and those that the loader could not read,
    are left out. A manifest is no sign of a GPU: distributions install those of every vendor together.
    """
    arch = so_far.os.arch
    manifests = {path: manifest for path in manifest_paths(machine) if (manifest := _read(machine, path, arch))}
    names = (LOADER, *(manifest.library for manifest in manifests.values() if "/" not in manifest.library))
    found = libraries.find_libraries(machine, names, arch, so_far.os.libc.name)
    drivers = tuple(
        path
        for path, manifest in manifests.items()
        if found.get(manifest.library) or _is_there(machine, path, manifest.library, arch)
    )
    return Vulkan(found[LOADER], drivers) if found[LOADER] or drivers else None


def has_driver(kernel_driver: str | None, manifests: Iterable[str]) -> bool:
    """Tell whether one of the manifests, by its name, is that of a driver for what this kernel driver drives."""
    names = BY_KERNEL_DRIVER.get(kernel_driver or "", ())
    return any(basename(path).startswith(names) for path in manifests if names)


def parse_manifest(text: str) -> Manifest:
    """Parse a driver's JSON manifest. Raises ``ValueError`` where it names no library."""
    icd = parse_object(text).get("ICD")
    library = icd.get("library_path") if isinstance(icd, dict) else None
    if not isinstance(library, str) or not library or "\0" in library:
        raise ValueError("it names no library")
    bits = icd.get("library_arch") if isinstance(icd, dict) else None
    return Manifest(library, bits if isinstance(bits, str) else None)


def manifest_paths(machine: Machine) -> tuple[str, ...]:
    """Return every manifest that the loader would look at, in its order, each once."""
    env = machine.env
    only = next((env[name] for name in ONLY_THESE if env.get(name)), None)
    if only is not None:
        found = [path for place in _entries(only) for path in _expand(machine, place)]
    else:
        found = [path for place in _entries(env.get(THESE_TOO, "")) for path in _expand(machine, place)]
        found += [path for place in _directories(env) for path in _in_directory(machine, f"{place}/vulkan/icd.d")]
    return tuple(dict.fromkeys(found))[:_MAX_MANIFESTS]


def _directories(env: Mapping[str, str]) -> Iterator[str]:
    home = env.get("HOME", "")
    yield from _entries(env.get("XDG_CONFIG_HOME") or (f"{home}/.config" if home else ""))
    yield from _entries(env.get("XDG_CONFIG_DIRS") or "/etc/xdg")
    yield "/etc"
    yield from _entries(env.get("XDG_DATA_HOME") or (f"{home}/.local/share" if home else ""))
    yield from _entries(env.get("XDG_DATA_DIRS") or "/usr/local/share:/usr/share")


def _entries(text: str) -> list[str]:
    """Split a list of paths; a relative one depends on the working directory and is left out."""
    return [entry.rstrip("/") for entry in text.split(":") if entry.startswith("/")]


def _expand(machine: Machine, place: str) -> list[str]:
    """Return the manifests of an entry of a variable: the loader takes files and directories."""
    return _in_directory(machine, place) or ([place] if place.endswith(".json") else [])


def _in_directory(machine: Machine, directory: str) -> list[str]:
    return [f"{directory}/{name}" for name in machine.list_dir(directory) if name.endswith(".json")]


def _read(machine: Machine, path: str, arch: str | None) -> Manifest | None:
    """Return a manifest; ``None`` for what the loader skips too, so that the others count all the same."""
    text = machine.read_text(path)
    if text is None or _is_foreign_name(path, arch):
        return None
    try:
        manifest = parse_manifest(text)
    except ValueError:
        return None
    return None if manifest.bits == "32" and arch in _64_BIT else manifest


def _is_there(machine: Machine, path: str, library: str, arch: str | None) -> bool:
    """Tell whether a library is there by its path, which may be relative to the manifest's directory."""
    whole = normpath(join(dirname(path), library))
    return "/" in library and machine.exists(whole) and not libraries.is_foreign(dirname(whole), arch)


def _is_foreign_name(path: str, arch: str | None) -> bool:
    """Tell whether Mesa's file name, such as ``radeon_icd.i686.json``, says another architecture."""
    match = _ARCH_IN_NAME.search(path)
    return match is not None and arch is not None and match[1] != arch
