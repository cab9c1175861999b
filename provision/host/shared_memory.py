"""Named shared memory that outlives its processes: who uses it, and removing what nobody does.

Linux keeps it as files in ``/dev/shm``. A server that is killed leaves its own there, as large as its caches, and
names alone do not tell whose they are: what counts is which processes were seen to use them.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from contextlib import suppress

from provision.domain.server import SharedFile

PLACE = "/dev/shm"  # noqa: S108 - where the kernel keeps it; nothing is made here


def listed() -> frozenset[SharedFile]:
    """Return all that there is now; nothing where the system has no such place."""
    found = set()
    with suppress(OSError), os.scandir(PLACE) as entries:
        for entry in entries:
            with suppress(OSError):  # gone meanwhile
                found.add(SharedFile(entry.name, entry.stat(follow_symlinks=False).st_ino))
    return frozenset(found)


def used_by(pids: Iterable[int]) -> frozenset[SharedFile]:
    """Return what these processes have mapped or open, as far as they can be looked into.

    Told by the inode: a semaphore is mapped under another name before it gets its own.
    """
    inodes = {inode for pid in pids for inode in (*_mapped(pid), *_opened(pid))}
    return frozenset(file for file in listed() if file.inode in inodes) if inodes else frozenset()


def sweep(files: Iterable[SharedFile]) -> None:
    """Remove of ``files`` those of this user's that no process uses any more; one of the same name made anew stays."""
    left = listed().intersection(files)
    if not left:
        return
    in_use = used_by(int(entry) for entry in os.listdir("/proc") if entry.isdigit())
    for file in left - in_use:
        path = os.path.join(PLACE, file.name)
        with suppress(OSError):
            status = os.lstat(path)
            if stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid() and status.st_ino == file.inode:
                os.unlink(path)


def _mapped(pid: int) -> Iterable[int]:
    """Yield inodes from /proc/<pid>/maps: column 4 is the inode, what follows the path."""
    with suppress(OSError), open(f"/proc/{pid}/maps", "rb") as maps:
        for line in maps:
            if b" /dev/shm/" in line:
                yield int(line.split(None, 5)[4])


def _opened(pid: int) -> Iterable[int]:
    place = f"/proc/{pid}/fd"
    with suppress(OSError):
        for handle in os.listdir(place):
            with suppress(OSError):
                if os.readlink(f"{place}/{handle}").startswith(f"{PLACE}/"):
                    yield os.stat(f"{place}/{handle}").st_ino
