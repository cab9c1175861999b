"""Telling what became of a file of the user's, for ``config --undo`` and ``destroy``."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from provision.apply.config_files import TakenBack

_SAID = {
    "removed": "Removed {path}, which fabric had made.",
    "restored": "{path} is as it was.",
    "edited": "{path} was edited since: what in it was still as fabric wrote it is out, everything else stays.",
    "gone": "{path} is not there any more.",
    "left": "{path} stays as it is ({why}).",
}


def told(each: TakenBack) -> str:
    """Return one line on what became of a file."""
    line = _SAID[each.outcome].format(path=each.path, why=each.why)
    return f"{line} What stood there before is in {each.aside}." if each.aside else line
