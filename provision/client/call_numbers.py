"""Which pieces of a stream belong to one call of a tool, where the server's own numbers do not tell. Pure."""

from __future__ import annotations

import msgspec

from provision.client.answers import ToolCall, ToolCallPart
from provision.client.wire import Call, join_calls, part_of


class CallNumbers:
    """Numbers the calls of one answer.

    A server may give no numbers, or the same one to every call. A new call has a name, and another id than the one
    before; where there are neither numbers nor ids, the arguments of the one before are complete.
    """

    def __init__(self) -> None:
        self._calls: dict[int, ToolCall] = {}
        self._current: dict[int, int] = {}  # by the number that the server uses

    def parts(self, calls: list[Call]) -> tuple[ToolCallPart, ...]:
        """Return the pieces in a chunk, those of one call with one number."""
        return tuple(self._part(call, place) for place, call in enumerate(calls))

    def _part(self, call: Call, place: int) -> ToolCallPart:
        theirs = place if call.index is None else call.index
        part = part_of(call, self._current.setdefault(theirs, theirs))
        before = self._calls.get(part.index)
        if before and part.name and _is_another(before, part, numbered=call.index is not None):
            self._current[theirs] = max(self._calls) + 1
            part = part_of(call, self._current[theirs])
            before = None
        known = ToolCallPart(part.index, before.id, before.name, before.arguments) if before else None
        (self._calls[part.index],) = join_calls([known, part] if known else [part])
        return part


def _is_another(before: ToolCall, part: ToolCallPart, *, numbered: bool) -> bool:
    if part.id and before.id:
        return part.id != before.id
    return not numbered and _is_object(before.arguments)


def _is_object(text: str) -> bool:
    try:
        return isinstance(msgspec.json.decode(text), dict)
    except (msgspec.DecodeError, RecursionError):
        return False
