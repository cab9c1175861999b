"""What CMake, Ninja, make and a compiler print while they build."""

from __future__ import annotations

import re
from collections.abc import Iterable

SHOWN_LINES = 5
_NINJA = re.compile(r"\[(\d{1,9})/(\d{1,9})\] ")
_MAKE = re.compile(r"\[ {0,2}(\d{1,3})%\] ")
_ERROR = re.compile(
    r"\berror\b|\bfatal\b|\bstop\.|undefined (?:reference|symbol)|no space left|\bkilled\b|not found", re.IGNORECASE
)
# What the tools say of each other's end tells nobody why.
_EMPTY = re.compile(r"(?:g?make(?:\[\d+\])?: |ninja: build stopped|FAILED: |collect2: )")
_CMAKE = "CMake Error"  # the lines that follow say what it is
_DISK_FULL = "No space left on device"
_KILLED = re.compile(r"Killed signal terminated program|unable to execute command: Killed")


def parse_step(line: str) -> tuple[int, int] | None:
    """Return the steps that are done and all steps, as Ninja (``[3/206] ...``) or make (``[ 12%] ...``) says it."""
    ninja = _NINJA.match(line)
    if ninja is not None:
        return int(ninja[1]), int(ninja[2])
    make = _MAKE.match(line)
    return None if make is None else (int(make[1]), 100)


def error_lines(lines: Iterable[str]) -> list[str]:
    """Return the few lines that tell best of an error; where none does, the last few lines."""
    said = [line.strip() for line in lines if line.strip()]
    first = next((number for number, line in enumerate(said) if line.startswith(_CMAKE)), None)
    if first is not None:
        return said[first : first + SHOWN_LINES]
    errors = [line for line in said if _ERROR.search(line) and parse_step(line) is None]
    return ([line for line in errors if not _EMPTY.match(line)] or errors or said)[-SHOWN_LINES:]


def tells_of_full_disk(lines: Iterable[str]) -> bool:
    """Tell whether a program said that it could not write."""
    return any(_DISK_FULL in line for line in lines)


def tells_of_killed_compiler(lines: Iterable[str]) -> bool:
    """Tell whether the compiler's driver said that its compiler was killed, as it is when memory runs out."""
    return any(_KILLED.search(line) for line in lines)
