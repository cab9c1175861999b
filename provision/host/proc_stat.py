"""What Linux tells of a process in one line."""

from __future__ import annotations

from pathlib import Path

ENDED = "ZXx"  # states of a process that runs no more, and may not have been collected


def stat_fields(pid: int | str) -> list[str] | None:
    """Return the fields of /proc/<pid>/stat from the state on, ``None`` where there is no such process.

    The name of a command, which comes before, may hold spaces and ``)``.
    """
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    return text.rpartition(")")[2].split()
