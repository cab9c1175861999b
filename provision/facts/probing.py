"""Running probes: each is timed, and how it ended is kept."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import TypeVar

from provision.domain.facts import Outcome, Probe

T = TypeVar("T")

TIMED_OUT = "timed out: "


# How Python words what a parser did not foresee: true, and of no use to anybody who reads it.
_PYTHON_S = re.compile(
    r"invalid literal|not enough values|too many values|could not convert|Expecting|Exceeds the limit|substring not|"
    r"Extra data|Invalid \\escape|maximum recursion|list index|tuple index|embedded null|Unterminated|\[Errno"
)


def _told(error: Exception) -> str:
    text = str(error)
    return "it makes no sense" if _PYTHON_S.match(text) else text or type(error).__name__


class Recorder:
    """Runs probes one after the other and keeps a ``Probe`` of each in ``probes``."""

    def __init__(self) -> None:
        self.probes: list[Probe] = []

    def run(self, name: str, source: str, read: Callable[[], T | None], default: T) -> T:
        """Return what ``read`` finds, or ``default`` where it finds nothing (``missing``) or raises (``failed``).

        ``source`` names what is read, for people. An ``AssertionError`` passes: only a test's machine raises it.
        """
        started = time.perf_counter()
        value: T | None = None
        try:
            value = read()
            outcome = Outcome.OK if value is not None else Outcome.MISSING
            detail = None if value is not None else f"nothing readable: {source}"
        except AssertionError:
            raise
        except TimeoutError as error:
            outcome, detail = Outcome.FAILED, f"{TIMED_OUT}{error}"
        except Exception as error:  # noqa: BLE001 - a probe must never stop the others, whatever the machine holds
            outcome, detail = Outcome.FAILED, f"{source}: {_told(error)}"
        duration_ms = round((time.perf_counter() - started) * 1000, 3)
        self.probes.append(Probe(name, outcome, duration_ms, detail))
        return default if value is None else value
