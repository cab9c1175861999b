"""Where the dynamic loader would find the shared libraries that engines link to and do not carry.

The rules are those of ld.so(8) and ldconfig(8), without running either: LD_LIBRARY_PATH, the directories of
/etc/ld.so.conf, the loader's own. For musl: LD_LIBRARY_PATH, then /etc/ld-musl-<arch>.path or its own directories.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from posixpath import dirname, join

from provision.host.machine import Machine

WANTED = ("libgomp.so.1", "libstdc++.so.6", "libnuma.so.1")
CUDA_DRIVER = "libcuda.so.1"
CONFIGURATION = "/etc/ld.so.conf"
_MUSL_DIRECTORIES = ("/lib", "/usr/local/lib", "/usr/lib")
_MULTIARCH = re.compile(r"([a-z0-9_]+)-linux-(?:gnu|musl)\w*")
_FOREIGN_ON_64_BIT = ("lib32", "libx32")
_MAX_FILES = 200


def read_libraries(
    machine: Machine, arch: str | None, libc: str | None, *, in_wsl: bool = False
) -> dict[str, str | None]:
    """Map what engines link to to the path where the loader would find it, or to ``None``.

    In WSL 2 the driver of Windows brings its library along, in a directory that the loader has to be told of.
    """
    return find_libraries(machine, (*WANTED, CUDA_DRIVER) if in_wsl else WANTED, arch, libc)


def find_libraries(machine: Machine, names: Sequence[str], arch: str | None, libc: str | None) -> dict[str, str | None]:
    """Map each of ``names`` to the path where the loader would find it, or to ``None``."""
    places = list(dict.fromkeys(search_path(machine, arch, libc)))
    return {name: _find(machine, places, name) for name in names}


def _find(machine: Machine, places: list[str], name: str) -> str | None:
    paths = (f"{place}/{name}" for place in places)
    return next((path for path in paths if machine.exists(path)), None)


def search_path(machine: Machine, arch: str | None, libc: str | None) -> Iterator[str]:
    """Yield the directories in the order in which the loader looks through them."""
    yield from parse_search_path(machine.env.get("LD_LIBRARY_PATH", ""))
    if libc == "musl":
        yield from parse_search_path(machine.read_text(f"/etc/ld-musl-{arch}.path") or "") or _MUSL_DIRECTORIES
        return
    yield from (place for place in configured_directories(machine) if not is_foreign(place, arch))
    yield from default_directories(machine, arch)


def parse_search_path(text: str) -> tuple[str, ...]:
    """Split a search path; an empty or relative entry depends on the working directory and is left out."""
    return tuple(place.rstrip("/") for place in re.split(r"[:;\n]", text) if place.startswith("/"))


def default_directories(machine: Machine, arch: str | None) -> tuple[str, ...]:
    """Return the loader's own directories.

    Where the C library lives in /lib64, a 64-bit loader does not look into /lib: that is the 32-bit one's.
    """
    multiarch = (f"/lib/{arch}-linux-gnu", f"/usr/lib/{arch}-linux-gnu") if arch else ()
    plain = () if machine.exists("/lib64/libc.so.6") else ("/lib", "/usr/lib")
    return (*multiarch, "/lib64", "/usr/lib64", *plain)


def is_foreign(directory: str, arch: str | None) -> bool:
    """Tell whether a directory holds another architecture's libraries, by its name."""
    parts = directory.split("/")
    if any(part in _FOREIGN_ON_64_BIT for part in parts):
        return True
    return any((match := _MULTIARCH.fullmatch(part)) is not None and match[1] != arch for part in parts)


def configured_directories(machine: Machine) -> list[str]:
    """Return the directories of /etc/ld.so.conf, and of what it includes in the place where it does."""
    return list(_configured(machine, CONFIGURATION, set()))


def _configured(machine: Machine, path: str, seen: set[str]) -> Iterator[str]:
    if path in seen or len(seen) >= _MAX_FILES:
        return
    seen.add(path)
    for keyword, value in parse_configuration(machine.read_text(path) or ""):
        if keyword == "directory":
            yield value
            continue
        for included in expand(machine, join(dirname(path), value)):
            yield from _configured(machine, included, seen)


def parse_configuration(text: str) -> Iterator[tuple[str, str]]:
    """Yield ``("include", pattern)`` and ``("directory", path)`` in the order of a loader configuration file."""
    for line in text.splitlines():
        words = line.partition("#")[0].split()
        if not words or words[0] == "hwcap":
            continue
        if words[0] == "include":
            yield from (("include", pattern) for pattern in words[1:])
        elif words[0].startswith("/"):
            yield "directory", words[0].partition("=")[0].rstrip("/")


def expand(machine: Machine, pattern: str) -> list[str]:
    """Return the paths that match ``pattern``, sorted; wildcards may stand in any part of it."""
    paths = [""]
    for part in pattern.split("/")[1:]:
        if any(wildcard in part for wildcard in "*?["):
            paths = [f"{path}/{name}" for path in paths for name in machine.list_dir(path or "/") if _hit(name, part)]
        else:
            paths = [f"{path}/{part}" for path in paths]
    return paths[:_MAX_FILES]


def _hit(name: str, pattern: str) -> bool:
    """Match as a shell does: a leading dot is matched by a dot only."""
    return fnmatchcase(name, pattern) and (pattern.startswith(".") or not name.startswith("."))
