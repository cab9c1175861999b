"""What the tests of fetching share: a fetcher that is easily let down, and pinned files of a server."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from provision.artifacts.fetch import Fetcher
from provision.domain.artifacts import PinnedFile
from provision.host.transport import Patience, Transport
from tests.standin.command import eventually

SIZE = 300_000
CONTENT = bytes(range(256)) * (SIZE // 256) + bytes(SIZE % 256)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
OTHER = bytes(reversed(CONTENT))
# A busy machine must not look like a bad line, so only the tests of bad lines are impatient.
HASTY = Patience(
    connect_timeout_s=5.0, idle_timeout_s=10.0, answer_timeout_s=10.0, backoff_s=0.0, max_wait_s=0.02, window_s=10.0
)
IMPATIENT = replace(HASTY, idle_timeout_s=0.4, answer_timeout_s=0.6, window_s=0.3, min_bytes_per_s=2000)


def pinned(*urls: str, content: bytes = CONTENT, path: str = "f.bin") -> PinnedFile:
    return PinnedFile(path, urls, len(content), hashlib.sha256(content).hexdigest())


def unpinned(*urls: str, path: str = "f.bin") -> PinnedFile:
    return PinnedFile(path, urls)


@dataclass
class Fetching:
    """A fetcher with its own directories below ``root``; what it says and counts is kept."""

    root: Path
    said: list[str] = field(default_factory=list)
    counted: list[int] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)
    env: dict[str, str] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def partial(self) -> Path:
        return self.root / "partial"

    @property
    def target(self) -> Path:
        return self.root / "out" / "f.bin"

    @property
    def left(self) -> list[str]:
        return sorted(path.name for path in self.partial.iterdir())

    def fetcher(self, patience: Patience = HASTY) -> Fetcher:
        transport = Transport(self.env, patience=patience)
        return Fetcher({}, transport, self.root, self.stop, self.partial, self.said.append, **self.options)

    def file(self, file: PinnedFile, patience: Patience = HASTY) -> str:
        return self.fetcher(patience).file(file, self.target, self.counted.append)


def stop_when(fetching: Fetching, look: Callable[[], bool]) -> None:
    """Stop the transfers when it is so."""
    eventually(look)
    fetching.stop.set()
