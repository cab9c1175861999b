"""One answer: bytes as they arrive in, pieces of the answer out. Pure."""

from __future__ import annotations

import json

import msgspec

from provision.client.answers import Completion, Delta, Timing, Usage
from provision.client.body import MAX_ANSWER_BYTES, too_long
from provision.client.call_numbers import CallNumbers
from provision.client.errors import AnswerError, BrokenStreamError, ClientError
from provision.client.peer import Peer
from provision.client.thinking import ThinkSplitter
from provision.client.wire import Document, join_calls, no_answer, read_document, whole_as_delta
from provision.domain.sse import DONE, Event, EventSplitter, is_stream

_ENDED = "the connection ended"


class AnswerReader:
    """Reads one answer, a stream or a whole; where the pieces of bytes begin and end makes no difference.

    Which of the two it is, its first bytes tell: servers and proxies send either with any content type. ``peer`` is the
    server in errors, ``sent_ns`` is when the request left. ``done`` says that the server has said all; ``error`` is why
    the answer goes no further than what was read, where it is not whole: a ``BrokenStreamError`` where the server
    reports an error or the connection ends, an ``AnswerError`` for what is no answer.
    """

    def __init__(self, peer: Peer, sent_ns: int) -> None:
        self._peer = peer
        self._sent_ns = sent_ns
        self._events = EventSplitter()
        self._thinking = ThinkSplitter()
        self._calls = CallNumbers()
        self._deltas: list[Delta] = []
        self._model = ""
        self._streams: bool | None = None  # nobody knows yet
        self._held = bytearray()  # what came before that is known, and all of what is no stream
        self._answered = False
        self.done = False
        self.error: ClientError | None = None

    def feed(self, data: bytes, at_ns: int) -> list[Delta]:
        """Take the next bytes, read at ``at_ns``; return the pieces of the answer that they complete."""
        before = len(self._deltas)
        if not self._streams:
            data = self._hold(data)
        self._take(self._events.feed(data, at_ns))
        return self._deltas[before:]

    def close(self, at_ns: int, broken: str = "") -> list[Delta]:
        """End the answer; return what was held back. ``broken`` is how the connection broke, if it did."""
        before = len(self._deltas)
        if not (self.done or self.error):
            if self._streams is False and not broken:
                return self.take_whole(bytes(self._held), at_ns)
            self._end(at_ns, broken or _ENDED)
        return self._deltas[before:]

    def take_whole(self, body: bytes, at_ns: int) -> list[Delta]:
        """Take an answer that did not come as a stream."""
        self.done = True
        try:
            document = self._checked(read_document(body, self._peer), at_ns)
            if not document.choices:
                raise no_answer(self._peer, body, "there is no choice in it")
        except ClientError as error:
            self.error = error
            return []
        self._model = document.model or ""
        delta = whole_as_delta(document, at_ns)
        thought, text = self._parted(delta.content, ends=True)
        self._deltas = [msgspec.structs.replace(delta, content=text, reasoning=delta.reasoning + thought)]
        return self._deltas[:]

    def completion(self) -> Completion:
        """Return the answer as far as it has come."""
        deltas = self._deltas
        times = [delta.at_ns for delta in deltas] or [self._sent_ns]
        return Completion(
            content="".join(delta.content for delta in deltas),
            reasoning="".join(delta.reasoning for delta in deltas),
            tool_calls=join_calls(part for delta in deltas for part in delta.tool_calls),
            finish_reason=self._finish_reason,
            usage=self._usage,
            model=self._model,
            timing=Timing(self._sent_ns, times[0], times[-1]),
            logprobs=tuple(row for delta in deltas for row in delta.logprobs),
        )

    @property
    def _finish_reason(self) -> str | None:
        return next((delta.finish_reason for delta in reversed(self._deltas) if delta.finish_reason), None)

    @property
    def _usage(self) -> Usage | None:
        return next((delta.usage for delta in reversed(self._deltas) if delta.usage), None)

    def _hold(self, data: bytes) -> bytes:
        """Hold bytes back until it is known what they are; return those of a stream."""
        self._held += data
        if self._streams is None:
            self._streams = is_stream(bytes(self._held))
        if self._streams:
            data, self._held = bytes(self._held), bytearray()
            return data
        if len(self._held) > MAX_ANSWER_BYTES:
            self.error = too_long(self._peer)
        return b""

    def _take(self, events: list[Event]) -> None:
        for event in events:
            if self.done or self.error:  # what comes after is nobody's
                break
            try:
                if event.data.startswith(DONE):
                    self._finish(event.at_ns)
                elif event.data:
                    self._read(event)
            except ClientError as error:
                self.error = error

    def _finish(self, at_ns: int) -> None:
        self._end_text(at_ns)
        if not self._answered:
            raise no_answer(self._peer, b"", "there is no choice in it")
        self.done = True

    def _read(self, event: Event) -> None:
        if event.name == "error":
            raise self._reported(event.data.encode(), event.at_ns)
        document = self._checked(read_document(event.data, self._peer), event.at_ns)
        self._answered = self._answered or bool(document.choices)
        self._model = self._model or document.model or ""
        usage = document.usage.value() if document.usage else None
        choice = document.choice
        said = choice.said
        thought, text = self._parted(said.text, ends=bool(choice.finish_reason))
        thought = said.thought + thought
        if text or thought or said.tool_calls or choice.finish_reason or usage or choice.likely:
            calls = self._calls.parts(said.tool_calls) if said.tool_calls else ()
            end, likely = choice.finish_reason, choice.likely
            self._deltas.append(Delta(text, thought, calls, end, usage, event.at_ns, likely))

    def _end(self, at_ns: int, why: str) -> None:
        self._take(self._events.close(at_ns))
        if isinstance(self.error, AnswerError):  # the last event was cut
            self.error = None
        self._end_text(at_ns)
        if not (self.done or self.error or self._finish_reason):
            self.error = self._broken(why, at_ns)

    def _checked(self, document: Document, at_ns: int) -> Document:
        if document.refusal is not None:
            raise self._reported(json.dumps(document.refusal).encode(), at_ns)
        return document

    def _reported(self, error: bytes, at_ns: int) -> BrokenStreamError:
        return self._broken(f"it reports {self._peer.said(error)}", at_ns)

    def _broken(self, why: str, at_ns: int) -> BrokenStreamError:
        """Return the error for an answer that goes no further."""
        self._end_text(at_ns)
        text = "".join(delta.content for delta in self._deltas)
        where = self._peer.where
        what = f"The answer of {where} stopped in the middle" if self._deltas else f"{where} gives no answer"
        return BrokenStreamError(f"{what}: {why}.", "Ask again; see the server's log.", text)

    def _parted(self, text: str, *, ends: bool) -> tuple[str, str]:
        """Return what a piece adds to the thinking, and what to the text; all of it where the answer ``ends``."""
        thought, said = self._thinking.feed(text) if text else ("", "")
        if ends:
            more, rest = self._thinking.close()
            thought, said = thought + more, said + rest
        return thought, said

    def _end_text(self, at_ns: int) -> None:
        """Keep what was held back because it might have become a tag."""
        thought, text = self._thinking.close()
        if thought or text:
            self._deltas.append(Delta(text, thought, at_ns=at_ns))
