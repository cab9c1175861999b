"""The generations of one prefix: every change makes one, and the newest that served can be brought back."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from provision.domain.state import Generation, State
from provision.errors import UsageError
from provision.host.files import explained, remove_tree
from provision.host.layout import Layout

KNOWN_GENERATIONS = 10  # the state is read by every command, so that it must not grow for ever
_FAILED_LOG = re.compile(r"failed-generation-(\d+)\.log")


def with_next(state: State, made: Generation) -> tuple[Generation, ...]:
    """Return the generations that are known when ``made`` is the current one."""
    return worth_keeping((*state.history, made), KNOWN_GENERATIONS)


def worth_keeping(history: Sequence[Generation], most: int) -> tuple[Generation, ...]:
    """Return the newest ``most``, and of those that have served and differ the newest ``most`` as well.

    However often something fails, what served before it can be brought back.
    """
    served = list[Generation]()
    for each in reversed(history):
        if each.was_ready and not any(each.selection.is_served_like(other.selection) for other in served):
            served.append(each)
    numbers = {each.number for each in (*history[-most:], *served[:most])}
    return tuple(each for each in history if each.number in numbers)


def remove_unknown(layout: Layout, state: State) -> None:
    """Remove the files of generations that are not known any more."""
    with explained("removing old generations"):
        for path in files_besides({each.number for each in state.generations}, layout):
            remove_tree(path)


def chosen_generation(state: State, number: int | None) -> Generation:
    """Return the generation with this number; where none is given the last other one that has served.

    Raises ``UsageError`` where it is not known.
    """
    found = _last_other(state) if number is None else state.known_generation(number)
    if found is not None:
        return found
    known = ", ".join(str(each.number) for each in state.history) or "none"
    hint = f"Known: {known}. See `fabric rollback --list`."
    if number is None:
        raise UsageError("There is no earlier generation that has served and differs from this one.", hint)
    raise UsageError(f"There is no generation {number}.", hint)


def _last_other(state: State) -> Generation | None:
    now = state.selection
    return next(
        (
            each
            for each in reversed(state.history)
            if each.was_ready and now is not None and not now.is_served_like(each.selection)
        ),
        None,
    )


def files_besides(numbers: Collection[int], layout: Layout) -> Iterator[Path]:
    """Yield the directories and logs of all generations but those with these numbers."""
    for path in layout.generations.iterdir() if layout.generations.is_dir() else ():
        if path.name.isdigit() and int(path.name) not in numbers:
            yield path
    for path in layout.logs.iterdir() if layout.logs.is_dir() else ():
        failed = _FAILED_LOG.fullmatch(path.name)
        if failed and int(failed[1]) not in numbers:
            yield path
