"""Differences of texts as people know them."""

from __future__ import annotations

import difflib
from collections.abc import Mapping


def unified(before: str, after: str, name: str) -> str:
    """Return a unified diff of one text; empty where nothing differs."""
    lines = difflib.unified_diff(_lines(before), _lines(after), f"a/{name}", f"b/{name}", n=2)
    return "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines)


def unified_files(before: Mapping[str, str | None], after: Mapping[str, str]) -> str:
    """Return the unified diff of many texts by name; one that is ``None`` or missing before is new."""
    return "".join(unified(before.get(name) or "", text, name) for name, text in sorted(after.items()))


def _lines(text: str) -> list[str]:
    """Return the lines with their ends. A form feed, or another end of a line that only Python knows, is none."""
    *whole, last = text.split("\n")
    return [*(f"{line}\n" for line in whole), *([last] if last else [])]
