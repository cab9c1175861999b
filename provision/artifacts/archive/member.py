"""What an archive holds, as values, and how much of it is believable."""

from __future__ import annotations

from enum import Enum
from typing import IO

from provision.domain.frozen import frozen
from provision.domain.units import GIB, MIB, gib

SHOWN_CHARACTERS = 100


class BadArchiveError(Exception):
    """The archive cannot or must not be unpacked. Says so in words that follow its name: "is damaged: ..."."""


class Kind(Enum):
    """The only kinds that are unpacked."""

    FILE = "file"
    DIRECTORY = "directory"
    LINK = "symbolic link"
    HARD_LINK = "hard link"


@frozen
class Member:
    """One entry as the archive has it: neither ``name`` nor ``target`` (of a link) is checked.

    ``content`` is only there for a file, and only until the next member is read.
    """

    name: str
    kind: Kind
    size_bytes: int = 0
    executable: bool = False
    target: str = ""
    content: IO[bytes] | None = None


@frozen
class Limits:
    """What is believable of an engine's archive.

    ``members`` counts directories that are only implied, too. ``name_bytes`` is of a whole path, ``part_bytes`` of
    what is between two slashes. ``ratio`` is of unpacked to packed bytes, and does not count below ``small_bytes``.
    """

    members: int = 50_000
    unpacked_bytes: int = 30 * GIB
    ratio: int = 200
    small_bytes: int = 100 * MIB
    depth: int = 32
    name_bytes: int = 1024
    part_bytes: int = 255


class Room:
    """How much may still be unpacked from an archive of ``packed_bytes``."""

    def __init__(self, limits: Limits, packed_bytes: int) -> None:
        self._most = min(limits.unpacked_bytes, max(limits.small_bytes, limits.ratio * packed_bytes))
        self._taken = 0

    def check(self, size_bytes: int) -> None:
        """Raise ``BadArchiveError`` where ``size_bytes`` more are too much."""
        if size_bytes < 0 or self._taken + size_bytes > self._most:
            raise BadArchiveError(
                f"would unpack to more than {gib(self._most)}, which is not believable for an archive of its size"
            )

    def take(self, size_bytes: int) -> None:
        """Count ``size_bytes`` more. Raises ``BadArchiveError`` where they are too much."""
        self.check(size_bytes)
        self._taken += size_bytes


def shown(name: str) -> str:
    """Return a member's name as an error shows it: in quotes, without control characters, not too long."""
    return ascii(name if len(name) <= SHOWN_CHARACTERS else f"{name[:SHOWN_CHARACTERS]}…")
