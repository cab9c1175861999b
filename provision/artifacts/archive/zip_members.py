"""The members of a zip archive, in the order of its table of contents."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from typing import IO, TYPE_CHECKING, cast

from provision.artifacts.archive.member import BadArchiveError, Kind, Limits, Member, Room, shown
from provision.artifacts.archive.packed import PackedFile

if TYPE_CHECKING:
    import zipfile

ENCRYPTED = 0x1 | 0x40 | 0x2000
PATCH = 0x20
_PLAIN = (0, 8)  # stored and deflated; others are for people
_KINDS = {0: Kind.FILE, stat.S_IFREG: Kind.FILE, stat.S_IFDIR: Kind.DIRECTORY, stat.S_IFLNK: Kind.LINK}


def zip_members(packed: PackedFile, room: Room, limits: Limits) -> Iterator[Member]:
    """Yield every member. Raises ``BadArchiveError`` for anything but files, directories and symbolic links.

    Raises what ``zipfile`` raises for damaged data, at the latest when the content of a file is read to its end.
    """
    import zipfile

    with zipfile.ZipFile(cast("IO[bytes]", packed)) as archive:
        entries = archive.infolist()
        if len(entries) > limits.members:
            raise BadArchiveError(f"holds more than the {limits.members} files that are believable")
        for entry in entries:
            yield _member(archive, entry, room, limits)


def _member(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, room: Room, limits: Limits) -> Member:
    name = entry.orig_filename  # the other one is cut at a NUL
    refuse_unusual(entry, name)
    room.take(entry.file_size)  # not more than that is ever read
    mode = entry.external_attr >> 16
    kind = _KINDS.get(stat.S_IFMT(mode))
    if name.endswith("/") and stat.S_IFMT(mode) == 0:
        kind = Kind.DIRECTORY
    if kind is Kind.FILE:
        return Member(name, kind, entry.file_size, bool(mode & stat.S_IXUSR), content=archive.open(entry))
    if kind is Kind.DIRECTORY and entry.file_size == 0:
        return Member(name, kind)
    if kind is Kind.LINK and entry.file_size <= limits.name_bytes:
        return Member(name, kind, target=archive.read(entry).decode("utf-8", "surrogateescape"))
    raise BadArchiveError(f"is unsafe: {shown(name)} is neither a file nor a directory nor a link")


def refuse_unusual(entry: zipfile.ZipInfo, name: str) -> None:
    """Raise ``BadArchiveError`` for a member that is encrypted, packed in an unusual way or would change the user."""
    if entry.flag_bits & (ENCRYPTED | PATCH):
        raise BadArchiveError(f"is refused: {shown(name)} is encrypted")
    if entry.compress_type not in _PLAIN:
        raise BadArchiveError(f"is refused: {shown(name)} is compressed in an unusual way")
    if entry.external_attr >> 16 & (stat.S_ISUID | stat.S_ISGID):
        raise BadArchiveError(f"is unsafe: {shown(name)} would run with the rights of another user or group")
