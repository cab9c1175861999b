"""A directory that is filled by somebody who is not trusted: no name leads out of it, no link is ever followed."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from provision.host.files import PRIVATE_DIR, remove_tree

FILE, PROGRAM, DIRECTORY = 0o644, 0o755, 0o755
_OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_OPEN_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class NewTree:
    """Puts new entries below an open directory.

    A place is given by the names on the way to it, the last one its own; none may be empty, ``.``, ``..`` or hold a
    slash. Directories on the way are made where they are missing. Every method raises ``OSError`` where something
    is there already, or where a link or a file is on the way.
    """

    def __init__(self, root: int) -> None:
        self._root = root

    def make_directory(self, parts: Sequence[str]) -> None:
        """Make a directory; one that is there already is fine."""
        with self._inside(parts):
            pass

    def write_file(self, parts: Sequence[str], chunks: Iterable[bytes], *, executable: bool) -> None:
        """Write a new file."""
        with self._inside(parts[:-1]) as parent:
            handle = os.open(parts[-1], _OPEN_NEW, 0o600, dir_fd=parent)
            with os.fdopen(handle, "wb", buffering=0) as file:
                for chunk in chunks:
                    _write_all(handle, chunk)
                os.fchmod(file.fileno(), PROGRAM if executable else FILE)

    def make_link(self, parts: Sequence[str], target: str) -> None:
        """Make a symbolic link. The caller has made sure that ``target`` stays inside."""
        with self._inside(parts[:-1]) as parent:
            os.symlink(target, parts[-1], dir_fd=parent)

    def make_hard_link(self, parts: Sequence[str], existing: Sequence[str]) -> None:
        """Give a file that is in the tree one more name."""
        with self._inside(parts[:-1]) as parent, self._inside(existing[:-1]) as other:
            os.link(existing[-1], parts[-1], src_dir_fd=other, dst_dir_fd=parent, follow_symlinks=False)

    @contextmanager
    def _inside(self, parts: Sequence[str]) -> Iterator[int]:
        handle = os.dup(self._root)
        try:
            for name in parts:
                outer, handle = handle, _enter(handle, name)
                os.close(outer)
            yield handle
        finally:
            os.close(handle)


def _enter(parent: int, name: str) -> int:
    try:
        return os.open(name, _OPEN_DIRECTORY, dir_fd=parent)
    except FileNotFoundError:
        os.mkdir(name, PRIVATE_DIR, dir_fd=parent)
        os.chmod(name, DIRECTORY, dir_fd=parent)  # whatever the umask
        return os.open(name, _OPEN_DIRECTORY, dir_fd=parent)


def _write_all(handle: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(handle, view) :]


@contextmanager
def new_tree(target: Path) -> Iterator[NewTree]:
    """Make the private directory ``target`` and give it to be filled; remove it with all that is in it on any error.

    Raises ``OSError`` where ``target`` exists already, and leaves it alone.
    """
    os.mkdir(target, PRIVATE_DIR)
    try:
        os.chmod(target, PRIVATE_DIR)
        root = os.open(target, _OPEN_DIRECTORY)
        try:
            yield NewTree(root)
        finally:
            os.close(root)
    except BaseException:
        with suppress(OSError):
            remove_tree(target)
        raise
