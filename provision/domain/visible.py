"""Text of others as a terminal may be given it."""

from __future__ import annotations

import re
import unicodedata

_LEFT_OUT = re.compile(r"\x1b\[[0-9;]*m|\r(?=\n)")  # colours, and how some systems end a line


def visible(text: str, kept: str = "\n\t") -> str:
    """Return ``text`` without what a terminal would obey: colours are left out, other control characters marked.

    Those in ``kept`` stay.
    """
    return "".join(
        letter if letter in kept or _is_shown(letter) else "\N{REPLACEMENT CHARACTER}"
        for letter in _LEFT_OUT.sub("", text)
    )


def _is_shown(letter: str) -> bool:
    return letter.isprintable() or unicodedata.category(letter) == "Zs"  # spaces of any width
