"""One file inside of a wheel, of which no more is read than that takes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, BinaryIO, cast

from provision.artifacts.archive.member import BadArchiveError, shown
from provision.artifacts.archive.packed import PackedFile, damage_told
from provision.artifacts.archive.zip_members import refuse_unusual
from provision.domain.artifacts import WheelMember
from provision.host.files import explained
from provision.host.part import Part, Source

CHUNK_BYTES = 1 << 20


@contextmanager
def opened_member(
    wheel: BinaryIO, wheel_bytes: int, path: str, stop: threading.Event | None = None
) -> Iterator[tuple[IO[bytes], int]]:
    """Give the content of a wheel's member, and how many bytes it has by the table of contents.

    Raises ``BadArchiveError`` where the wheel is damaged or has no such member; what reading raises of damage is for
    ``damage_told``. Raises ``InterruptedByUserError`` once ``stop`` is set.
    """
    import zipfile

    with damage_told():
        archive = zipfile.ZipFile(cast("IO[bytes]", PackedFile(wheel, wheel_bytes, lambda _: None, stop)))
        if path not in archive.NameToInfo:
            raise BadArchiveError(f"has no {shown(path)}")
        entry = archive.getinfo(path)
        refuse_unusual(entry, path)
        content = archive.open(entry)
    with content:
        yield content, entry.file_size


def unpack_member(
    wheel: BinaryIO, member: WheelMember, part: Part, counted: Callable[[], None], stop: threading.Event
) -> None:
    """Unpack a member into ``part``, from its start and never more than its size; nothing stays of it on any error.

    ``counted`` is called whenever the part's size has changed. Raises as ``opened_member``, also while it reads.
    """
    try:
        with opened_member(wheel, member.wheel.size_bytes, member.path, stop) as (content, _):
            _begin(part, counted)
            while True:
                with damage_told():
                    data = content.read(CHUNK_BYTES)
                if not data:
                    return
                _check_size(part.size_bytes + len(data), member)
                with explained(f"unpacking {member.path}"):
                    part.write(data)
                counted()
    except BaseException:
        _begin(part, counted)  # the middle of what is packed is no place to go on from
        raise


def _check_size(size_bytes: int, member: WheelMember) -> None:
    if size_bytes > member.size_bytes:
        raise BadArchiveError(f"is refused: {shown(member.path)} unpacks to more than its {member.size_bytes} bytes")


def _begin(part: Part, counted: Callable[[], None]) -> None:
    with explained("starting to unpack"):
        part.begin(Source(""))
    counted()
