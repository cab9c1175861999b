"""The pipes to and from a running program: fed and emptied without waiting, kept only up to a bound."""

from __future__ import annotations

import contextlib
import os
import select
import selectors
import subprocess
from collections.abc import Callable

MAX_OUTPUT_BYTES = 8 << 20  # of each stream
_READ_BYTES = 1 << 16


class Pipes:
    """What ``child``, whose streams are pipes, is given to read, and what it has printed so far.

    ``output`` and ``errors`` end at ``MAX_OUTPUT_BYTES``; ``overflowing`` says that there was more. With ``hear``
    nothing is kept, however much it is: all that is printed is handed over as it comes.
    """

    def __init__(
        self, child: subprocess.Popen[bytes], given: bytes, hear: Callable[[bytes], None] | None = None
    ) -> None:
        self._child = child
        self._left = memoryview(given)
        self._hear = hear
        self._selector = selectors.PollSelector()
        self.output, self.errors = bytearray(), bytearray()
        self.overflowing = False
        for stream, kept in ((child.stdout, self.output), (child.stderr, self.errors)):
            if stream is not None:
                self._selector.register(stream, selectors.EVENT_READ, kept)
        if child.stdin is not None and given:
            self._selector.register(child.stdin, selectors.EVENT_WRITE)
        elif child.stdin is not None:
            child.stdin.close()

    @property
    def open(self) -> bool:
        """Whether anybody may still read or write at the other end."""
        return bool(self._selector.get_map())

    def exchange(self, timeout_s: float) -> None:
        """Move what is there; wait for it, or for the end of a program that closed its streams, this long."""
        if not self.open:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._child.wait(timeout_s)
            return
        for key, _ in self._selector.select(timeout_s):
            if key.data is None:
                self._give(key)
            else:
                self._take(key)

    def close(self) -> None:
        """Close our ends; what the program had left to say is lost."""
        self._selector.close()
        for stream in (self._child.stdin, self._child.stdout, self._child.stderr):
            if stream is not None:
                stream.close()

    def _give(self, key: selectors.SelectorKey) -> None:
        try:
            self._left = self._left[os.write(key.fd, self._left[: select.PIPE_BUF]) :]  # so much never blocks
        except BrokenPipeError:  # it needs no more
            self._left = self._left[:0]
        if not self._left:
            self._finish(key)

    def _take(self, key: selectors.SelectorKey) -> None:
        data = os.read(key.fd, _READ_BYTES)
        if not data:
            self._finish(key)
        elif self._hear is not None:
            self._hear(data)
        else:
            self._keep(data, key)

    def _keep(self, data: bytes, key: selectors.SelectorKey) -> None:
        room = MAX_OUTPUT_BYTES - len(key.data)
        key.data.extend(data[:room])
        self.overflowing |= len(data) > room

    def _finish(self, key: selectors.SelectorKey) -> None:
        self._selector.unregister(key.fileobj)
        if key.fileobj is self._child.stdin:
            self._child.stdin.close()  # which tells it that there is no more
