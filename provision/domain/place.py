"""Where a prefix lies."""

from __future__ import annotations

from provision.domain.frozen import frozen


@frozen
class Place:
    """A directory by its ``path``, which has no links in it, and by the numbers that go with it where it is moved."""

    path: str
    device: int
    inode: int
