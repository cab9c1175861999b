"""The server's log: rotated by size, for this user only, and never a reason for the server to wait."""

from __future__ import annotations

import logging
import threading
from collections import deque
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import IO

from provision.host.files import PRIVATE_FILE, make_private_dir
from provision.serve.server_log import KEPT_FILES, ROTATE_BYTES

TAIL_LINES = 400
MAX_LINE_BYTES = 1 << 14  # what is longer becomes several lines


class LogKeeper:
    """Copies a process's output line by line into a rotating file and remembers its end."""

    def __init__(self, path: Path) -> None:
        logging.raiseExceptions = False  # a full disk costs log lines, never the server
        make_private_dir(path.parent)
        path.touch(mode=PRIVATE_FILE)
        self._handler = RotatingFileHandler(
            path, maxBytes=ROTATE_BYTES, backupCount=KEPT_FILES, encoding="utf-8", errors="replace"
        )
        self._tail: deque[str] = deque(maxlen=TAIL_LINES)
        self._thread: threading.Thread | None = None

    def follow(self, output: IO[bytes]) -> None:
        """Copy ``output`` until it ends, in the background."""
        self._thread = threading.Thread(target=self._copy, args=(output,), daemon=True)
        self._thread.start()

    def finish(self, timeout_s: float) -> str:
        """Wait for the rest and return the last lines. Gives up where a stray process holds the pipe open."""
        if self._thread is not None:
            self._thread.join(timeout_s)
        self._handler.close()
        return "".join(self._tail)

    def _copy(self, output: IO[bytes]) -> None:
        with output:
            for line in iter(lambda: output.readline(MAX_LINE_BYTES), b""):
                text = line.decode("utf-8", "replace")
                self._tail.append(text)
                self._handler.handle(_record(text.rstrip("\n")))


def _record(text: str) -> logging.LogRecord:
    return logging.LogRecord("server", logging.INFO, "", 0, text, None, None)
