"""What is mounted where. Format: proc_pid_mountinfo(5)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from provision.host.machine import Machine

PATH = "/proc/self/mountinfo"
_OCTAL_ESCAPE = re.compile(r"\\([0-7]{3})")


class Mount(NamedTuple):
    """One line. ``on_block_device`` is false for what has no device of its own, such as tmpfs, btrfs and NFS.

    ``options`` are those of the mount together with those of the file system.
    """

    id: int
    parent: int
    point: str
    filesystem: str
    source: str
    options: frozenset[str]
    on_block_device: bool


def parse_mounts(text: str) -> tuple[Mount, ...]:
    """Return all mounts in the kernel's order. Raises ``ValueError`` for another format, and for a part of it."""
    if not text.endswith("\n"):
        raise ValueError("it is empty, or cut in the middle")
    return tuple(_parse_line(line) for line in text[:-1].split("\n"))


def _parse_line(line: str) -> Mount:
    place, separator, kind = line.partition(" - ")
    fields, words = place.split(" "), kind.split(" ")
    if not separator or len(fields) < 6 or len(words) < 3:
        raise ValueError(f"no mount: {line[:80]!r}")
    return Mount(
        id=int(fields[0]),
        parent=int(fields[1]),
        point=unescape(fields[4]),
        filesystem=unescape(words[0]),
        source=unescape(words[1]),
        options=frozenset([*fields[5].split(","), *words[2].split(",")]),
        on_block_device=int(fields[2].partition(":")[0]) != 0,
    )


def unescape(path: str) -> str:
    """Undo the kernel's octal escapes: 040 behind a backslash for a space, and the like."""
    return _OCTAL_ESCAPE.sub(lambda match: chr(int(match[1], 8)), path)


def read_mounts(machine: Machine) -> tuple[Mount, ...] | None:
    """Read the mounts that this process sees."""
    text = machine.read_text(PATH)
    return None if text is None else parse_mounts(text)


def holding(path: str, mounts: Sequence[Mount]) -> Mount | None:
    """Return the mount that ``path`` lies on, whether it exists or not; ``None`` where no mount in sight holds it.

    ``path`` is absolute, without ``..``; links in it are not followed. The way down from the root is walked as the
    kernel does: at each step the mounts that stand on the one reached so far, the last of them on top. So what was
    mounted below a place and then covered there does not count.
    """
    known = {mount.id: mount for mount in mounts}
    standing = {(_parent(mount, known), mount.point): mount for mount in mounts}  # of several the last
    reached: Mount | None = None
    for place in ancestors(path):
        above = standing.pop((reached.id, place), None) if reached else None
        above = above or standing.pop((None, place), None)
        while above:
            reached = above
            above = standing.pop((reached.id, place), None)
    return reached


def _parent(mount: Mount, known: dict[int, Mount]) -> int | None:
    """Return the mount that this one stands on; ``None`` where that is out of sight.

    So it is in a container and where the root was changed: then it stands on whatever is reached.
    """
    parent = known.get(mount.parent)
    if parent is None or parent is mount or not is_within(mount.point, parent.point):
        return None
    return parent.id


def ancestors(path: str) -> Iterator[str]:
    """Yield ``/``, then each directory on the way to ``path``, then ``path``."""
    place = ""
    yield "/"
    for name in filter(None, path.split("/")):
        place = f"{place}/{name}"
        yield place


def is_within(path: str, directory: str) -> bool:
    """Tell whether ``path`` is ``directory`` or below it, by their names."""
    return directory in ("/", path) or path.startswith(f"{directory}/")
