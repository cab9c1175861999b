"""Symbolic links: what they name, and where a path leads."""

from __future__ import annotations

from posixpath import basename, dirname, join

from provision.host.machine import Machine

# The bounds of the kernel: path_resolution(7)
MAX_LINKS = 40
MAX_PATH = 4096


def link_name(machine: Machine, path: str) -> str | None:
    """Return the last part of what a symbolic link points to; ``None`` where there is no link."""
    target = machine.link_target(path)
    return None if target is None else basename(target) or None


def follow_links(machine: Machine, path: str) -> str | None:
    """Return the absolute ``path`` without links and ``..``, whether it exists or not.

    ``None`` where the kernel would give up: too many links, as in a ring, or one that is too long.
    """
    place, ahead, links = "/", _parts(path), 0
    while ahead:
        name = ahead.pop()
        if name == "..":
            place = dirname(place)
            continue
        step = join(place, name)
        target = machine.link_target(step)
        if target is None:
            place = step
            continue
        links += 1
        if links > MAX_LINKS or len(target) > MAX_PATH:
            return None
        place = "/" if target.startswith("/") else place
        ahead.extend(_parts(target))
    return place


def _parts(path: str) -> list[str]:
    """Return the names in ``path``, the first of them last."""
    return [name for name in reversed(path.split("/")) if name not in ("", ".")]
