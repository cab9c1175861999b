"""What is added to somebody's configuration, and taken back again, on the parsed data. Pure.

``merged`` and ``restored`` work on what a parser of JSON, YAML or TOML gives: mappings, lists and scalars. Where the
data was not changed in between, ``restored(merged(before, ours), ours, before)`` is ``before``.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

IDENTITIES = ("name", "title", "id", "model_id", "model_name")  # by which tools tell the items of a list apart


class _Absent:
    """Where there is nothing; ``None`` is a value of its own in JSON and YAML."""

    def __repr__(self) -> str:
        return "ABSENT"


ABSENT: Final = _Absent()


class Edit(NamedTuple):
    """One value to set, or with ``ABSENT`` to remove. In a list, an index behind the last item appends."""

    path: tuple[str | int, ...]
    value: Any


def merged(theirs: Any, ours: Any) -> Any:
    """Return ``theirs`` with ``ours`` added.

    Mappings are merged deeply. Items of a list are appended; one with the same name, title or id is replaced.
    Anything else is replaced.
    """
    if isinstance(ours, dict):
        was = theirs if isinstance(theirs, dict) else {}
        return {**was, **{key: merged(was.get(key, ABSENT), value) for key, value in ours.items()}}
    if isinstance(ours, list):
        result = list(theirs) if isinstance(theirs, list) else []
        for item in ours:
            place = _find(result, item)
            put(result, len(result) if place is None else place, item)
        return result
    return ours


def restored(now: Any, ours: Any, before: Any) -> Any:
    """Return ``now`` with each value that is still ours as it was ``before``, and everything else as it is.

    ``before`` is ``ABSENT`` where there was nothing; so is the result where nothing is left of what we made. An item
    of a list that was edited since is somebody's own by now, and stays as a whole.
    """
    if isinstance(now, dict) and isinstance(ours, dict):
        return _restored_mapping(now, ours, before)
    if isinstance(now, list) and isinstance(ours, list):
        return _restored_list(now, ours, before)
    return before if same(now, ours) else now


def _restored_mapping(now: dict[Any, Any], ours: dict[Any, Any], before: Any) -> Any:
    was = before if isinstance(before, dict) else {}
    back = {key: restored(now[key], ours[key], was.get(key, ABSENT)) for key in ours if key in now}
    result = {key: value for key, value in {**now, **back}.items() if value is not ABSENT}
    return result if result or isinstance(before, dict) else before


def _restored_list(now: list[Any], ours: list[Any], before: Any) -> Any:
    was = before if isinstance(before, list) else []
    result = list(now)
    for item in ours:
        place, old = _find(result, item), _find(was, item)
        if place is None or not same(result[place], item):
            continue
        result[place : place + 1] = [] if old is None else [was[old]]
    return result if result or isinstance(before, list) else before


def _find(items: list[Any], wanted: Any) -> int | None:
    """Return where the item is that means the same thing as ``wanted``."""
    identity = _identity(wanted)
    return next((place for place, item in enumerate(items) if same(_identity(item), identity)), None)


def _identity(item: Any) -> Any:
    if not isinstance(item, dict):
        return item
    return next(([key, item[key]] for key in IDENTITIES if key in item), item)


def same(one: Any, other: Any) -> bool:
    """Tell whether two values are the same in a file: ``True`` is not 1 there."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(value, other[key]) for key, value in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)


def difference(old: Any, new: Any, path: tuple[str | int, ...] = ()) -> list[Edit]:
    """Return the edits that make ``new`` of ``old``, to be applied one after the other."""
    if same(old, new):
        return []
    if isinstance(old, dict) and isinstance(new, dict):
        edits = [Edit((*path, key), ABSENT) for key in old if key not in new]
        for key, value in new.items():
            edits += difference(old[key], value, (*path, key)) if key in old else [Edit((*path, key), value)]
        return edits
    if isinstance(old, list) and isinstance(new, list):
        return _list_difference(old, new, path)
    return [Edit(path, new)]


def _list_difference(old: list[Any], new: list[Any], path: tuple[str | int, ...]) -> list[Edit]:
    """Keep what is there in place, so that comments beside it stay: replace, remove from the end, append."""
    places = _subsequence(old, new) if len(new) < len(old) else list(range(len(old)))
    edits: list[Edit] = []
    for place, value in zip(places, new, strict=False):
        edits += difference(old[place], value, (*path, place))
    edits += [Edit((*path, place), ABSENT) for place in reversed(range(len(old))) if place not in places]
    return edits + [Edit((*path, place), new[place]) for place in range(len(places), len(new))]


def _subsequence(old: list[Any], new: list[Any]) -> list[int]:
    """Return for each item of the shorter ``new`` which one of ``old`` it was, in order."""
    places: list[int] = []
    for number, value in enumerate(new):
        start = places[-1] + 1 if places else 0
        last = len(old) - (len(new) - number)
        alike = (place for place in range(start, last + 1) if same(_identity(old[place]), _identity(value)))
        places.append(next(alike, start))
    return places


def edited(data: Any, edits: list[Edit]) -> Any:
    """Return a copy of ``data`` with ``edits`` applied: what a parser shall find in the text afterwards."""
    from copy import deepcopy

    result = deepcopy(data)
    for path, value in edits:
        if not path:
            result = value
            continue
        holder = result
        for step in path[:-1]:
            holder = holder[step]
        put(holder, path[-1], value)
    return result


def put(holder: Any, step: Any, value: Any) -> None:
    """Set, append or remove one value of a mapping or a list."""
    if value is ABSENT:
        del holder[step]
    elif isinstance(holder, list) and step >= len(holder):
        holder.append(value)
    else:
        holder[step] = value
