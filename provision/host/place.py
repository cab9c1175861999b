"""Whether a prefix still lies where it was set up: a copy takes along what was told of the original."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from provision.domain.place import Place


def place_of(prefix: Path) -> Place:
    """Return where a prefix lies. Raises ``OSError`` where it is not there."""
    status = prefix.stat()
    return Place(str(prefix), status.st_dev, status.st_ino)


def is_at(place: Place | None, prefix: Path) -> bool:
    """Tell whether ``place`` is the prefix, by whatever name; older versions did not record one."""
    if place is None or place.path == str(prefix):
        return True
    with suppress(OSError):
        return os.path.samefile(place.path, prefix)
    return False


def is_of(place: Place | None, prefix: Path) -> bool:
    """Tell whether ``place`` is the prefix or where that lay before it was moved; of a copy it is neither."""
    if place is None or is_at(place, prefix):
        return True
    with suppress(OSError):
        now = place_of(prefix)
        return (place.device, place.inode) == (now.device, now.inode)
    return False
