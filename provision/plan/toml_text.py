"""TOML as somebody wrote it: its data, and the text with some values changed. Pure.

The library keeps comments when values are added or replaced. It takes a comment for part of the table above it, and
loses it with that; so tables that are to be removed are cut out of the text, line by line.
"""

from __future__ import annotations

import re
from typing import Any

from provision.plan.merge import ABSENT, Edit, edited, put, same


def data(text: str) -> Any:
    """Return what a text holds. Raises ``ValueError``."""
    import tomlkit
    from tomlkit.exceptions import TOMLKitError

    try:
        return tomlkit.parse(text).unwrap()
    except (TOMLKitError, RecursionError) as error:
        raise ValueError(str(error)) from error


def changed(text: str, edits: list[Edit]) -> str:
    """Return a text that can be read with some values changed.

    Raises ``LookupError`` or ``ValueError`` where an edit does not fit.
    """
    from tomlkit.exceptions import TOMLKitError

    try:
        for edit in edits:
            shorter = _cut(text, edit) if edit.value is ABSENT else None
            text = _put(text, edit) if shorter is None else shorter
    except TOMLKitError as error:
        raise ValueError(str(error)) from error
    return text


def _put(text: str, edit: Edit) -> str:
    import tomlkit

    tree = tomlkit.parse(text)
    holder: Any = tree
    for step in edit.path[:-1]:
        holder = holder[step]
    put(holder, edit.path[-1], edit.value)
    result = tomlkit.dumps(tree)
    return re.sub(r"\r?\n", "\r\n", result) if text.count("\r\n") == text.count("\n") > 0 else result


def _cut(text: str, edit: Edit) -> str | None:
    """Return the text without the tables at one path; ``None`` where what is there has no lines of its own."""
    kept, gone = list[str](), list[str]()
    is_within = False
    for line in text.splitlines(keepends=True):
        path = _table(line)
        if path is not None:
            kept, gone = _with_rest(kept, gone), []
            is_within = path[: len(edit.path)] == edit.path
        (gone if is_within else kept).append(line)
    shorter = "".join(_with_rest(kept, gone))
    try:
        return shorter if same(data(shorter), edited(data(text), [edit])) else None
    except ValueError:
        return None


def _table(line: str) -> tuple[str, ...] | None:
    """Return the path of the table that begins with this line; ``None`` where none does."""
    if not line.lstrip().startswith("["):
        return None
    try:
        held = data(line)
    except ValueError:
        return None
    path = []
    while isinstance(held, dict) and held:
        ((step, held),) = held.items()
        path.append(step)
    return tuple(path)


def _with_rest(kept: list[str], gone: list[str]) -> list[str]:
    """Return ``kept`` with what stays of a table that is cut out: its comments, and one gap between its neighbours."""
    if not gone:
        return kept
    last = max((at for at, line in enumerate(gone) if line.strip() and not _is_comment(line)), default=-1)
    rest = [line for at, line in enumerate(gone) if _is_comment(line) or (at > last and not line.strip())]
    is_gap_twice = kept and not kept[-1].strip() and not "".join(rest[:1]).strip()
    return (kept[:-1] if is_gap_twice else kept) + rest


def _is_comment(line: str) -> bool:
    return line.lstrip().startswith("#")
