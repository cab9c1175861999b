"""Server-sent events: bytes as they arrive in, events out. Pure.

The format is the WHATWG HTML standard's, section 9.2.6 "Interpreting an event stream": lines end with LF, CR or
CRLF, an empty line ends an event, a line that starts with a colon is a comment.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from provision.domain.frozen import frozen

_LINE_END = re.compile(rb"\r\n|\n|\r")
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_FIELDS = (b":", b"data:", b"event:", b"id:", b"retry:")
DONE = "[DONE]"


def is_stream(begun: bytes) -> bool | None:
    """Tell whether what begins so is a stream of events, and no document; ``None`` where more has to come first."""
    text = begun.removeprefix(_BYTE_ORDER_MARK).lstrip()
    if text.startswith(_FIELDS):
        return True
    return None if any(start.startswith(text) for start in (*_FIELDS, _BYTE_ORDER_MARK)) else False


@frozen
class Event:
    """One event, and when the byte that completed it was read. ``name`` is ``message`` where none is given."""

    at_ns: int
    data: str
    name: str = "message"


class EventSplitter:
    """Cuts a stream of bytes into events; where the pieces begin and end makes no difference."""

    def __init__(self) -> None:
        self._rest: list[bytes] = []  # of the line that has not ended, joined once: a line may be long
        self._after_cr = False
        self._first = True
        self._data: list[str] = []
        self._name = ""

    def feed(self, data: bytes, at_ns: int) -> list[Event]:
        """Take the next bytes, read at ``at_ns``; return the events that they complete."""
        if not data:
            return []
        if self._after_cr and data.startswith(b"\n"):
            data = data[1:]
        self._after_cr = data.endswith(b"\r")
        ended, *begun = _LINE_END.split(data)
        self._rest.append(ended)
        if not begun:
            return []
        *lines, last = [b"".join(self._rest), *begun]
        self._rest = [last]
        return [event for line in lines if (event := self._line(line, at_ns))]

    def close(self, at_ns: int) -> list[Event]:
        """End the stream. An event without its empty line counts, as the usual clients have it."""
        last = [self._line(b"".join(self._rest), at_ns), self._line(b"", at_ns)]
        self._rest = []
        return [event for event in last if event]

    def _line(self, line: bytes, at_ns: int) -> Event | None:
        if self._first:
            line, self._first = line.removeprefix(_BYTE_ORDER_MARK), False
        if not line:
            return self._dispatch(at_ns)
        field, _, value = line.partition(b":")
        text = value.removeprefix(b" ").decode("utf-8", "replace")
        if field == b"data":
            self._data.append(text)
        elif field == b"event":
            self._name = text
        return None

    def _dispatch(self, at_ns: int) -> Event | None:
        event = Event(at_ns, "\n".join(self._data), self._name or "message") if self._data else None
        self._data, self._name = [], ""
        return event


def events(pieces: Iterable[tuple[int, bytes]]) -> list[Event]:
    """Return all events of a finished stream, given as pairs of (time of reading, bytes)."""
    splitter, found, at_ns = EventSplitter(), [], 0
    for at_ns, data in pieces:
        found += splitter.feed(data, at_ns)
    return found + splitter.close(at_ns)
