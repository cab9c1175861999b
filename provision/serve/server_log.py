"""The server's log as it lies on disk: the newest file, and those that it was rotated into."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from provision.domain.frozen import frozen
from provision.domain.server import LogPlace

ROTATE_BYTES = 10 << 20
KEPT_FILES = 4
TAIL_BYTES = 1 << 15


@frozen
class ServerLog:
    """The log at ``path``."""

    path: Path

    def size(self) -> int:
        """Return the size of the newest file in bytes."""
        try:
            return self.path.stat().st_size
        except OSError:
            return 0

    def end(self) -> LogPlace | None:
        """Return where the next line will be; ``None`` where there is no log yet."""
        try:
            found = self.path.stat()
        except OSError:
            return None
        return LogPlace(found.st_ino, found.st_size)

    def last_lines(self, count: int, since: LogPlace | None = None) -> list[str]:
        """Return the last lines, at most ``count``; where ``since`` is given none that are older."""
        lines: list[str] = []
        for data in self._newest_first(since):
            lines = [*data.decode("utf-8", "replace").splitlines(), *lines][-count:]
            if len(lines) >= count:
                break
        return lines

    def said_since(self, place: LogPlace | None) -> bytes:
        """Return all that was said since ``place``, at most what one file holds. Raises ``OSError``."""
        newest_first = [*self._newest_first(place, ROTATE_BYTES)]
        return b"".join(reversed(newest_first))[-ROTATE_BYTES:]

    def _newest_first(self, since: LogPlace | None, most_bytes: int = TAIL_BYTES) -> Iterator[bytes]:
        """Yield the end of each file, back to the one that ``since`` is in: a rotated file keeps its inode."""
        for number in range(KEPT_FILES + 1):
            try:
                with (self.path if number == 0 else Path(f"{self.path}.{number}")).open("rb") as file:
                    found = os.fstat(file.fileno())
                    is_first = since is not None and found.st_ino == since.inode
                    start = since.offset if since is not None and is_first else 0
                    file.seek(max(start, found.st_size - most_bytes))
                    yield file.read()
            except OSError:
                return
            if is_first:
                return
