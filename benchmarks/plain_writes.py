"""The ``fabric`` command without what makes it survive a power cut, or with a clock for it. For durability.py alone.

    python benchmarks/plain_writes.py plain|timed [fabric's arguments]

``plain``: no fsync and no journal; that is no option of fabric. ``timed``: with both, and the seconds in which at least
one thread was in fsync stand in the file that ``DURABILITY_FILE`` names.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))


class Clock:
    """Runs while anybody is inside; ``spent_s`` are the seconds so far."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._since = self.spent_s = 0.0

    def __enter__(self) -> None:
        with self._lock:
            if not self._inside:
                self._since = time.perf_counter()
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                self.spent_s += time.perf_counter() - self._since


_clock = Clock()


def nothing(*_: Any) -> None:
    """Do nothing."""


def timed(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return ``function``, whose time counts."""

    def run(*args: Any) -> Any:
        with _clock:
            return function(*args)

    return run


def main() -> int:
    """Run ``fabric``."""
    changed = {"plain": lambda _: nothing, "timed": timed}[sys.argv.pop(1)]
    from provision.apply import journal
    from provision.cli.main import main as fabric

    append = vars(journal)["append_synced"]  # before fsync has a clock: its own is not counted twice
    vars(os)["fsync"] = changed(os.fsync)
    vars(journal)["append_synced"] = nothing if changed is not timed else append
    status = fabric()
    if "DURABILITY_FILE" in os.environ:
        Path(os.environ["DURABILITY_FILE"]).write_text(str(_clock.spent_s), encoding="utf-8")
    return status


if __name__ == "__main__":
    sys.exit(main())
