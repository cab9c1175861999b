"""The text of a user's file with our configuration in it, and without it again. Pure.

What is JSON, YAML or TOML is merged value by value; lines for a shell stand in a block between two marks; anything else
is a file of its own. Whatever comes out was read again and compared with what it should say, and no comment is missing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection

from provision.plan.documents import SYNTAXES, Syntax
from provision.plan.merge import ABSENT, Edit, difference, edited, merged, restored, same

BLOCK = "shell"
BEGIN = "# >>> fabric >>> written by `fabric config`, taken back by `fabric config --undo`"
END = "# <<< fabric <<<"


class CannotMergeError(ValueError):
    """Our configuration cannot be added to this text, or not be taken out of it. The message says why."""


def with_ours(syntax: str, theirs: str | None, ours: str, keep: Collection[str] = ()) -> str:
    """Return ``theirs`` (``None``: there is no file) with the rendered text ``ours`` in it.

    The keys at the top that ``keep`` names are not replaced. Raises ``CannotMergeError``.
    """
    if syntax == BLOCK:
        return f"{_ending_lines(theirs or '')}{_block(ours)}"
    if theirs is None:
        return ours
    if syntax not in SYNTAXES:
        raise CannotMergeError("it exists, and this format has a file of its own")
    reading = SYNTAXES[syntax]
    old, own = _data(reading, theirs), reading.data(ours)
    if old is None:
        return _appended(reading, theirs, ours)
    if type(old) is not type(own):
        raise CannotMergeError(f"it holds a {_kind(old)}, and a {_kind(own)} belongs there")
    if isinstance(own, dict) and isinstance(old, dict):
        own = {key: value for key, value in own.items() if key not in keep or key not in old}
    return _changed(reading, theirs, difference(old, merged(old, own)))


def without_ours(syntax: str, now: str, ours: str, before: str | None) -> str | None:
    """Return ``now`` without what of the rendered text ``ours`` is unchanged in it; ``None`` where nothing is left.

    ``before`` is the text that ``ours`` was merged into. Raises ``CannotMergeError``.
    """
    if syntax == BLOCK:
        return _without_block(now, ours, before or "") or (None if before is None else "")
    if before is None and now == ours:
        return None
    if syntax not in SYNTAXES:
        raise CannotMergeError("it was edited, and nobody can tell which of it is yours")
    reading = SYNTAXES[syntax]
    held, own = _data(reading, now), reading.data(ours)
    was = ABSENT if before is None else reading.data(before)
    if held is None:
        return now
    target = restored(held, own, was)
    remarks = Counter(reading.comments(now)) - Counter(reading.comments(ours))
    if target is ABSENT and not remarks:
        return None
    empty = type(held)()
    return _changed(reading, now, difference(held, empty if target is ABSENT or target is None else target), ours)


def _appended(reading: Syntax, theirs: str, ours: str) -> str:
    """Put ``ours`` behind a text in which there is nothing; one that says that there is nothing takes no more."""
    result = _ending_lines(theirs) + ours
    try:
        fits = same(reading.data(result), reading.data(ours))
    except ValueError:
        fits = False
    if not fits:
        raise CannotMergeError("it holds nothing but says so, as `null` or the end of a document does")
    return result


def _data(reading: Syntax, text: str) -> object:
    try:
        return reading.data(text)
    except ValueError as error:
        raise CannotMergeError(f"it cannot be read: {error}") from error


def _changed(reading: Syntax, text: str, edits: list[Edit], ours: str = "") -> str:
    """Change the text; what comes out has to say what is meant, and to keep each comment that is not ours."""
    if not edits:
        return text
    wanted = edited(reading.data(text), edits)
    try:
        result = reading.changed(text, edits)
        fits = same(reading.data(result), wanted)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
        fits, result = False, text
    lost = Counter(reading.comments(text)) - Counter(reading.comments(ours)) - Counter(reading.comments(result))
    if not fits or lost:
        raise CannotMergeError("its values cannot be changed without losing " + (min(lost) if lost else "others"))
    return result


def _block(ours: str) -> str:
    return f"{BEGIN}\n{_ending_lines(ours)}{END}\n"


def _without_block(now: str, ours: str, before: str) -> str:
    """Cut the block out; where it was edited, our lines between the marks, or on the inner side of one."""
    block = _block(ours)
    if block in now:
        return now.replace(block, "", 1)
    lines = now.splitlines(keepends=True)
    bare = [line.rstrip("\r\n") for line in lines]
    own = set(ours.splitlines()) - set(before.splitlines())
    first = bare.index(BEGIN) if BEGIN in bare else None
    last = bare.index(END, first or 0) if END in bare[first or 0 :] else None
    if first is None and last is None:
        if own.intersection(bare):
            raise CannotMergeError("the marks around fabric's lines are gone; take the lines out by hand")
        return now
    block_lines = range(first or 0, len(lines) if last is None else last + 1)
    own |= {BEGIN, END}
    return "".join(line for at, line in enumerate(lines) if at not in block_lines or bare[at] not in own)


def _ending_lines(text: str) -> str:
    return text if not text or text.endswith("\n") else f"{text}\n"


def _kind(value: object) -> str:
    return "mapping" if isinstance(value, dict) else "list" if isinstance(value, list) else "single value"
