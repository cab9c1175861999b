"""The moments of a run at which it may be killed, or told no by the disk.

A moment is a call of one of ``POINTS``. Its site is the way through ``provision/`` that led to it: between two calls
from the same site nothing differs but the file, so a test that has seen the first and the last has seen them all. Sites
are counted each for itself, because what runs side by side is not numbered the same way twice.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

PROVISION = str(Path(__file__).parents[2] / "provision") + os.sep
JOURNAL = "journal"
SYSTEM_CALLS = ("replace", "rename", "fsync", "unlink", "rmdir", "symlink", "link")
POINTS = (JOURNAL, *SYSTEM_CALLS)
KILL = "kill"


@dataclass(frozen=True)
class Moment:
    """The ``number``-th call of ``point`` from ``site``."""

    point: str
    site: str
    number: int

    @classmethod
    def parse(cls, text: str) -> Moment:
        """Read what ``str`` wrote."""
        point, number, site = text.split(" ", 2)
        return cls(point, site, int(number))

    def __str__(self) -> str:
        return f"{self.point} {self.number} {self.site}"


def record(path: Path) -> None:
    """Write every moment of this process to ``path``, one a line."""
    lock = threading.Lock()

    def note(moment: Moment, *_: Any) -> None:
        with lock, path.open("a", encoding="utf-8") as file:
            file.write(f"{moment}\n")

    _watch(POINTS, note)


def strike(moment: Moment, blow: str, mark: Path | None = None) -> None:
    """At ``moment`` end this process as the kernel would, or, where ``blow`` is the name of an error, raise that.

    A process that is struck by an error and goes on leaves ``mark``, by which it is told that the blow fell.
    """

    def act(reached: Moment, *arguments: Any) -> None:
        if reached == moment:
            if blow == KILL:
                os.kill(os.getpid(), signal.SIGKILL)
            if mark:
                mark.touch()
            number = getattr(errno, blow)
            raise OSError(
                number, os.strerror(number), *(str(each) for each in arguments[:1] if isinstance(each, str | Path))
            )

    _watch((moment.point,), act)


def _watch(points: tuple[str, ...], act: Callable[..., None]) -> None:
    from provision.apply.journal import Journal

    seen: Counter[tuple[str, str]] = Counter()
    lock = threading.Lock()

    def watched(point: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            site = _site()
            if site:
                with lock:
                    seen[point, site] += 1
                    moment = Moment(point, site, seen[point, site])
                act(moment, *arguments)
            return function(*arguments, **options)

        return call

    for point in points:
        if point == JOURNAL:
            Journal._write = watched(point, Journal._write)  # type: ignore[method-assign]
        else:
            setattr(os, point, watched(point, getattr(os, point)))


def _site() -> str:
    """Return the frames of ``provision/`` that are at work, the innermost first; empty where there are none."""
    frame: FrameType | None = sys._getframe(2)
    places: list[str] = []
    while frame is not None:
        code = frame.f_code
        if code.co_filename.startswith(PROVISION):
            places.append(f"{code.co_filename.removeprefix(PROVISION)}:{frame.f_lineno}")
        frame = frame.f_back
    return "<".join(places)
