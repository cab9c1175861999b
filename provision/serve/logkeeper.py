"""The server's log: rotated by size, for this user only, and never a reason for the server to wait."""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from pathlib import Path
from typing import IO

from provision.host.files import PRIVATE_FILE, make_private_dir
from provision.serve.server_log import KEPT_FILES, ROTATE_BYTES

READ_BYTES = 1 << 16
TAIL_BYTES = 1 << 17
_APPEND = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC


class LogKeeper:
    """Copies a process's output into a rotating file as fast as it comes, and remembers its end.

    What cannot be written, because the disk is full, is dropped; how much is told in the log as soon as that can be.
    """

    def __init__(self, path: Path) -> None:
        make_private_dir(path.parent)
        self._path = path
        self._file: int | None = None
        self._tail = b""
        self._dropped_bytes = 0
        self._thread: threading.Thread | None = None
        self._is_over = False

    def follow(self, output: IO[bytes]) -> None:
        """Copy ``output`` until it ends, in the background."""
        self._thread = threading.Thread(target=self._copy, args=(output,), daemon=True)
        self._thread.start()

    def finish(self, timeout_s: float) -> str:
        """Wait for the rest and return the end of it. Gives up where a stray process holds the pipe open."""
        if self._thread is not None:
            self._thread.join(timeout_s)
        self._is_over = True  # the next server has a keeper of its own
        return self._tail.decode("utf-8", "replace")

    def _copy(self, output: IO[bytes]) -> None:
        with output:
            while (data := os.read(output.fileno(), READ_BYTES)) and not self._is_over:
                self._tail = (self._tail + data)[-TAIL_BYTES:]
                self._keep(data)
        self._close()

    def _keep(self, data: bytes) -> None:
        """Write ``data``; where the file is full, to the end of a line into that and the rest into the next."""
        try:
            if self._size_bytes() + 2 * READ_BYTES > ROTATE_BYTES:
                end = data.find(b"\n") + 1
                self._append(data[:end])
                data = data[end:]
                self._rotate()
            self._append(data)
        except OSError:
            self._dropped_bytes += len(data)

    def _append(self, data: bytes) -> None:
        if self._file is None:
            self._file = os.open(self._path, _APPEND, PRIVATE_FILE)
        note = f"fabric: {self._dropped_bytes} bytes were dropped here\n".encode() if self._dropped_bytes else b""
        written = os.write(self._file, note + data)
        if written >= len(note):
            self._dropped_bytes = 0
        self._dropped_bytes += len(data) - max(0, written - len(note))

    def _size_bytes(self) -> int:
        return os.fstat(self._file).st_size if self._file is not None else 0

    def _rotate(self) -> None:
        self._close()
        for number in range(KEPT_FILES, 0, -1):
            older = self._path if number == 1 else Path(f"{self._path}.{number - 1}")
            with suppress(FileNotFoundError):
                older.replace(f"{self._path}.{number}")

    def _close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None
