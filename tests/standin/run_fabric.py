"""The ``fabric`` command, with other data files and with a death at a chosen moment.

    python run_fabric.py [fabric's arguments]

``STANDIN_ASSETS`` names the data files to use. ``STANDIN_KILL`` is ``POINT:N``: the process kills itself with
SIGKILL instead of the N-th call of POINT (``journal``, ``replace``, ``rename``, ``fsync``, ``unlink``), or, for
``torn``, after half of the N-th line of the journal. ``STANDIN_RECORD`` names a file that gets every moment of the
run, ``STANDIN_STRIKE`` is one of them and what happens then, as ``BLOW MOMENT``; ``STANDIN_MARK`` is what an error
leaves where it fell; see ``moments.py``.
``STANDIN_LOCK_WAIT_S`` bounds the wait for the lock.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))
from tests.standin import moments


def die(*_: Any, **__: Any) -> None:
    """End as the kernel ends a process: at once, nothing cleaned up."""
    os.kill(os.getpid(), signal.SIGKILL)


def dying_at(number: int, function: Callable[..., Any], last_act: Callable[..., Any] = die) -> Callable[..., Any]:
    """Return ``function``, which dies in its ``number``-th call."""
    lock = threading.Lock()
    calls = 0

    def counted(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        with lock:
            calls += 1
            if calls == number:
                last_act(*args, **kwargs)
        return function(*args, **kwargs)

    return counted


def half_a_line(path: Path, data: bytes) -> None:
    """Write the first half and die."""
    with path.open("ab") as file:
        file.write(data[: len(data) // 2])
    die()


def arm(point: str, number: int) -> None:
    """Replace the function that the point names."""
    from provision.apply import journal

    if point == "journal":
        journal.Journal._write = dying_at(number, journal.Journal._write)  # type: ignore[method-assign]
    elif point == "torn":
        whole: Callable[..., None] = vars(journal)["append_synced"]
        vars(journal)["append_synced"] = dying_at(number, whole, half_a_line)
    else:
        setattr(os, point, dying_at(number, getattr(os, point)))


def main() -> int:
    """Run ``fabric``."""
    from provision import assets

    if "STANDIN_ASSETS" in os.environ:
        assets.ROOT = Path(os.environ["STANDIN_ASSETS"])
    if seconds := os.environ.pop("STANDIN_LOCK_WAIT_S", ""):
        from provision import changing

        changing.LOCK_WAIT_S = float(seconds)
    point, _, number = os.environ.pop("STANDIN_KILL", "").partition(":")
    if point:
        arm(point, int(number))
    if path := os.environ.pop("STANDIN_RECORD", ""):
        moments.record(Path(path))
    blow, _, moment = os.environ.pop("STANDIN_STRIKE", "").partition(" ")
    mark = os.environ.pop("STANDIN_MARK", "")
    if moment:
        moments.strike(moments.Moment.parse(moment), blow, Path(mark) if mark else None)
    from provision.cli.main import main as fabric

    return fabric()


if __name__ == "__main__":
    sys.exit(main())
