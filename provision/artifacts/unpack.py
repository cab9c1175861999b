"""Unpacking what came from elsewhere: all of it, and nothing outside of its directory, or nothing at all."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import BinaryIO

from provision.artifacts.archive.member import BadArchiveError, Kind, Limits, Member, Room, shown
from provision.artifacts.archive.names import Names
from provision.artifacts.archive.packed import PackedFile, Unpacked, damage_told, decompressed
from provision.artifacts.archive.tar_members import is_tar, tar_members
from provision.artifacts.archive.zip_members import zip_members
from provision.artifacts.first_bytes import ENOUGH_BYTES, GZIP, HTML, ZIP, ZSTD, what_it_is
from provision.errors import InvalidInputError, RefusedError
from provision.host.files import explained
from provision.host.new_tree import NewTree, new_tree

__all__ = ["STANDARD", "Limits", "unpack"]

CHUNK_BYTES = 1 << 20
STANDARD = Limits()
_COMPRESSIONS = {GZIP: "gzip", ZSTD: "zstd"}
_HINT = "Nothing of it was kept. Fetch it again, and compare its checksum with what its publisher says."
_PAGE_HINT = "A proxy or the login page of a network answers instead of the server. Open the address in a browser."


def unpack(
    archive: Path,
    target: Path,
    *,
    strip: int = 0,
    limits: Limits = STANDARD,
    progress: Callable[[int], None] = lambda _: None,
    stop: threading.Event | None = None,
) -> None:
    """Unpack a .tar.gz, .tar.zst, .tar or .zip, told by its first bytes, into the new directory ``target``.

    ``strip`` leading directories are taken away, which all members must share. ``progress`` is called with the
    number of packed bytes as they are read. Files become 0644 or 0755 and directories 0755 whatever the umask;
    ``target`` itself is private. Owners, times and other metadata are not taken over. Nothing is fsynced.

    ``target`` does not exist after any error. Raises ``RefusedError`` for what is no archive, damaged, too large, or
    holds anything but files, directories and links that stay inside under names that are safe everywhere;
    ``CannotCreateError`` where it cannot be written or ``target`` exists; ``InterruptedByUserError`` after ``stop``;
    ``InvalidInputError`` where ``archive`` cannot be read.
    """
    with _opened(archive) as file:
        packed = PackedFile(file, archive.stat().st_size, progress, stop)
        try:
            members = _members(packed, limits)
            with explained(f"unpacking {archive.name}"), new_tree(target) as tree:
                _write(members, tree, Names(limits, strip))
        except BadArchiveError as error:
            raise RefusedError(f"{archive.name} {error}.", _PAGE_HINT if HTML in str(error) else _HINT) from error


def _opened(archive: Path) -> BinaryIO:
    try:
        if not archive.is_file():  # opening a pipe could wait for ever
            raise FileNotFoundError(0, "there is no such file")
        return archive.open("rb")
    except OSError as error:
        raise InvalidInputError(f"Cannot read {archive}: {error.strerror}.", "Check the path.") from error


def _members(packed: PackedFile, limits: Limits) -> Iterator[Member]:
    """Return the members of whatever archive it is. Raises ``BadArchiveError`` where it is none."""
    start = packed.read(ENOUGH_BYTES)
    packed.seek(0)
    room = Room(limits, packed.size_bytes)
    kind = what_it_is(start)
    if kind == ZIP:
        return zip_members(packed, room, limits)
    if kind not in _COMPRESSIONS and not is_tar(start):
        raise BadArchiveError(f"is not an archive: {kind}")
    return tar_members(Unpacked(decompressed(packed, _COMPRESSIONS.get(kind, "")), room), room)


def _write(members: Iterator[Member], tree: NewTree, names: Names) -> None:
    empty = True
    while (member := _next(members)) is not None:
        parts, empty = names.place(member), False
        if member.kind is Kind.FILE:
            tree.write_file(parts, _chunks(member), executable=member.executable)
        elif member.kind is Kind.DIRECTORY:
            tree.make_directory(parts)
        elif member.kind is Kind.LINK:
            tree.make_link(parts, member.target)
        else:
            tree.make_hard_link(parts, names.file(member.target))
    if empty:
        raise BadArchiveError("is empty")


def _next(members: Iterator[Member]) -> Member | None:
    with damage_told():
        return next(members, None)


def _chunks(member: Member) -> Iterator[bytes]:
    """Yield the content of a file, which is exactly as long as its header says."""
    if member.content is None:
        return
    left = member.size_bytes
    with closing(member.content) as content:
        while True:
            with damage_told():
                data = content.read(min(left, CHUNK_BYTES) or 1)  # at the end as well: the checksum is compared there
            left -= len(data)
            if left < 0 or (left and not data):
                raise BadArchiveError(f"is damaged: {shown(member.name)} has not the size that it should have")
            if not data:
                return
            yield data
