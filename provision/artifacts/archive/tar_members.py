"""The members of a tar archive, one after the other."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from typing import IO, TYPE_CHECKING, cast

from provision.artifacts.archive.member import BadArchiveError, Kind, Member, Room, shown
from provision.artifacts.archive.packed import Unpacked
from provision.artifacts.first_bytes import what_it_is

if TYPE_CHECKING:
    import tarfile

MAGIC, MAGIC_AT = b"ustar", 257
BLOCK_BYTES = 512
MAX_TAIL_BYTES = 1 << 20  # zeros after the end: archives are filled up to a multiple of some block


def is_tar(start: bytes) -> bool:
    """Tell a tar archive by its first block."""
    return start[MAGIC_AT : MAGIC_AT + len(MAGIC)] == MAGIC


def tar_members(unpacked: Unpacked, room: Room) -> Iterator[Member]:
    """Yield every member; the content of a file has to be read to its end before the next one is asked for.

    Raises ``BadArchiveError`` for anything but files, directories and links, and where the archive does not end as
    one that is whole; and what ``tarfile`` raises for damaged data.
    """
    import tarfile

    start = unpacked.peek(BLOCK_BYTES)
    if not is_tar(start):
        raise BadArchiveError(f"holds no tar archive, but {what_it_is(start)}")
    with unpacked.header():
        archive = tarfile.open(  # noqa: SIM115 - it holds nothing open
            fileobj=cast("IO[bytes]", unpacked),  # only read() is used
            mode="r|",
            tarinfo=_strict_header(),
            encoding="utf-8",
            errors="surrogateescape",
        )
    while True:
        with unpacked.header():
            info = archive.next()
        if info is None:
            break
        yield _member(archive, info, room)
    _check_tail(archive)


def _strict_header() -> type[tarfile.TarInfo]:
    """``tarfile`` takes a damaged header for the end of the archive, and lets the end be missing."""
    from tarfile import EOFHeaderError, HeaderError, TarInfo  # type: ignore[attr-defined]  # not in the stubs

    class StrictHeader(TarInfo):
        @classmethod
        def fromtarfile(cls, archive: tarfile.TarFile) -> StrictHeader:
            try:
                return super().fromtarfile(archive)
            except EOFHeaderError:
                raise
            except HeaderError as error:
                raise BadArchiveError(f"is damaged: {error}") from error

    return StrictHeader


def _member(archive: tarfile.TarFile, info: tarfile.TarInfo, room: Room) -> Member:
    import tarfile

    name = info.name
    if info.issparse() or any(key.startswith("GNU.sparse") for key in info.pax_headers):
        raise BadArchiveError(f"is refused: {shown(name)} is a sparse file")
    if info.mode & (stat.S_ISUID | stat.S_ISGID):
        raise BadArchiveError(f"is unsafe: {shown(name)} would run with the rights of another user or group")
    if info.type in (tarfile.REGTYPE, tarfile.AREGTYPE):
        room.check(info.size)
        executable = bool(info.mode & stat.S_IXUSR)
        return Member(name, Kind.FILE, info.size, executable, content=archive.extractfile(info))
    kinds = {tarfile.DIRTYPE: Kind.DIRECTORY, tarfile.SYMTYPE: Kind.LINK, tarfile.LNKTYPE: Kind.HARD_LINK}
    if info.type not in kinds:
        raise BadArchiveError(f"is unsafe: {shown(name)} is neither a file nor a directory nor a link")
    return Member(name, kinds[info.type], target=info.linkname)


def _check_tail(archive: tarfile.TarFile) -> None:
    """Read on to the end of the file, which is where a compressed one has its checksum."""
    size, source = 0, cast("IO[bytes]", archive.fileobj)
    while data := source.read(BLOCK_BYTES):
        size += len(data)
        if data.strip(b"\0") or size > MAX_TAIL_BYTES:
            raise BadArchiveError("is damaged: something follows after its end")
