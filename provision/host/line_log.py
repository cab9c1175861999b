"""What a long-running program prints: all of it in a file, and line by line to whoever follows it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from provision.host.files import open_private

MAX_LINE_BYTES = 1 << 16
LAST_LINES = 200


class LineLog:
    """Appends to ``file`` and calls ``on_line`` with every line, without its end.

    A line longer than ``MAX_LINE_BYTES`` may come in pieces. ``last`` holds the newest ``LAST_LINES``.
    """

    def __init__(self, file: BinaryIO, on_line: Callable[[str], None]) -> None:
        self._file = file
        self._on_line = on_line
        self._begun = b""
        self.last: deque[str] = deque(maxlen=LAST_LINES)

    def write(self, data: bytes) -> None:
        """Take what was printed, in whatever pieces it comes. Raises ``OSError`` where it cannot be written."""
        self._file.write(data)
        self._file.flush()  # for whoever reads along
        *lines, self._begun = (self._begun + data).split(b"\n")
        for line in lines:
            self._tell(line)
        if len(self._begun) >= MAX_LINE_BYTES:
            self.finish()

    def finish(self) -> None:
        """Hand over the line that has no end yet."""
        if self._begun:
            line, self._begun = self._begun, b""
            self._tell(line)

    def _tell(self, line: bytes) -> None:
        text = line.rstrip(b"\r").decode("utf-8", "replace")
        self.last.append(text)
        self._on_line(text)


@contextmanager
def line_log(path: Path, on_line: Callable[[str], None] = lambda _: None) -> Iterator[LineLog]:
    """Open ``path``, for this user only, to append to; never through a symbolic link. Raises ``OSError``."""
    with open(path, "ab", opener=open_private) as file:
        log = LineLog(file, on_line)
        yield log
        log.finish()
