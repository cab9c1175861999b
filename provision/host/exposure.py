"""Who else could put something of theirs where a path leads: whoever may write to a directory on the way to it.

Judged as sshd judges the way to a user's keys: each directory on the way belongs to this user or to root and nobody
else may write to it; where a directory is sticky, others cannot touch what is not theirs. Links are followed one by
one, so a home that is a link of the administrator's is as good as any other. Access control lists count as far as
they show in the mode; what network file systems do not tell is not known here.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from provision.domain.frozen import frozen

MOST_LINKS = 40  # as the kernel: what follows more leads in a circle
ROOT = 0
_ALL_IDS = 0xFFFFFFFF


@frozen
class Exposure:
    """Why somebody else could replace what lies at or below ``path``; ``fix`` is what to do about it."""

    path: Path
    why: str
    fix: str


def exposures(path: Path) -> Iterator[Exposure]:
    """Yield what exposes ``path``, a directory or nothing yet, from the root downwards. Nothing is written.

    It has to be this user's own and to be writable by nobody else; the directories that lead to it may be root's.
    """
    seen = set[Exposure]()
    for found in _on_the_way(path):
        if found not in seen:
            seen.add(found)
            yield found
    status = _status(path)
    if status is not None and status.st_uid != os.geteuid():
        yield _owned(path, status)
    elif status is not None:
        yield from _writable(path, status, is_empty=_is_empty(path))


def _on_the_way(path: Path) -> Iterator[Exposure]:
    """Walk as the kernel does, and judge each directory in which a part of the path is looked up."""
    left, at, followed = [*reversed(path.parts[1:])], Path(path.anchor), 0
    while left:
        name = left.pop()
        directory, entry = _status(at), _status(at / name, follow=False)
        if directory is None or followed > MOST_LINKS:
            return
        yield from _directory(at, directory)
        if name == "..":
            at = at.parent
        elif entry is not None and stat.S_ISLNK(entry.st_mode):
            if not _is_trusted(entry.st_uid):
                yield _owned(at / name, entry)
            followed += 1
            target = Path(os.readlink(at / name))
            at = Path(target.anchor) if target.is_absolute() else at
            left += reversed(target.parts[1:] if target.is_absolute() else target.parts)
        else:
            at /= name


def _directory(path: Path, status: os.stat_result) -> Iterator[Exposure]:
    if not _is_trusted(status.st_uid):
        yield _owned(path, status)
    if not status.st_mode & stat.S_ISVTX:
        yield from _writable(path, status, is_empty=True)


def _owned(path: Path, status: os.stat_result) -> Exposure:
    return Exposure(path, f"{path} belongs to user {status.st_uid}", "Use a directory of your own: --home DIR.")


def _writable(path: Path, status: os.stat_result, *, is_empty: bool) -> Iterator[Exposure]:
    """Of an empty directory, and of one on the way, a group of which nobody else is a member does not count."""
    if status.st_mode & stat.S_IWOTH:
        yield Exposure(path, f"Everybody may write to {path}", f"chmod o-w {path}, or use another --home.")
    elif status.st_mode & stat.S_IWGRP and not (is_empty and _is_own_group(status.st_gid)):
        yield Exposure(path, f"Group {status.st_gid} may write to {path}", f"chmod g-w {path}, or use another --home.")


def _is_empty(path: Path) -> bool:
    try:
        return not any(path.iterdir())
    except OSError:  # no directory, or one that nobody may read
        return False


def _is_trusted(uid: int) -> bool:
    return uid in (ROOT, os.geteuid()) or _is_unmapped(uid)


def _is_unmapped(uid: int) -> bool:
    """Tell whether this is the stand-in for owners outside a user namespace: nobody in here can become one of them."""
    try:
        mapped = sum(int(line.split()[2]) for line in Path("/proc/self/uid_map").read_text("ascii").splitlines())
        overflow = int(Path("/proc/sys/kernel/overflowuid").read_text("ascii"))
    except (OSError, ValueError, IndexError):
        return False
    return uid == overflow and mapped < _ALL_IDS


def _is_own_group(gid: int) -> bool:
    """Tell whether nobody but this user and root is a member, as in the private group that many systems give a user.

    Members that only a directory service knows are not seen.
    """
    import grp
    import pwd

    try:
        group = grp.getgrgid(gid)
    except KeyError:
        return gid == os.getegid()
    members = set(group.gr_mem) | {user.pw_name for user in pwd.getpwall() if user.pw_gid == gid}
    ours = {user.pw_name for user in pwd.getpwall() if user.pw_uid in (ROOT, os.geteuid())}
    return members <= ours


def _status(path: Path, *, follow: bool = True) -> os.stat_result | None:
    try:
        return os.stat(path, follow_symlinks=follow)
    except OSError:
        return None
