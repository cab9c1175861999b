"""The ``fabric`` command without what makes it survive a power cut, or with a clock for it. For durability.py alone.

    python benchmarks/plain_writes.py plain|timed [fabric's arguments]

``plain``: no fsync and no journal; that is no option of fabric. ``timed``: with both, and the seconds that all threads
together spent in them stand in the file that ``DURABILITY_FILE`` names.
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

_adding = threading.Lock()
_spent_s = 0.0


def nothing(*_: Any) -> None:
    """Do nothing."""


def timed(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return ``function``, whose time counts."""

    def run(*args: Any) -> Any:
        global _spent_s  # noqa: PLW0603 - one figure of one process
        started = time.perf_counter()
        try:
            return function(*args)
        finally:
            with _adding:
                _spent_s += time.perf_counter() - started

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
        Path(os.environ["DURABILITY_FILE"]).write_text(str(_spent_s), encoding="utf-8")
    return status


if __name__ == "__main__":
    sys.exit(main())
