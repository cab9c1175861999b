"""The stream of one answer: bytes as they arrive in, pieces of the answer out. Pure."""

from __future__ import annotations

import json

import msgspec

from provision.client.answers import Completion, Delta, Timing, Usage
from provision.client.errors import BrokenStreamError, ClientError
from provision.client.thinking import ThinkSplitter
from provision.client.wire import Document, join_calls, no_answer, parts_of, read_document, whole_as_delta
from provision.domain.sse import DONE, Event, EventSplitter
from provision.host.server_said import server_said


class AnswerReader:
    """Reads one answer; where the pieces of bytes begin and end makes no difference.

    ``where`` names the server in errors, ``sent_ns`` is when the request left. ``done`` says that the server has said
    all; ``error`` is why the answer goes no further than what was read, where it is not whole: a ``BrokenStreamError``
    where the server reports an error or the connection ends, an ``AnswerError`` for what is no answer.
    """

    def __init__(self, where: str, sent_ns: int) -> None:
        self._where = where
        self._sent_ns = sent_ns
        self._events = EventSplitter()
        self._thinking = ThinkSplitter()
        self._deltas: list[Delta] = []
        self._model = ""
        self.done = False
        self.error: ClientError | None = None

    def feed(self, data: bytes, at_ns: int) -> list[Delta]:
        """Take the next bytes, read at ``at_ns``; return the pieces of the answer that they complete."""
        return self._take(self._events.feed(data, at_ns))

    def close(self, at_ns: int, why: str = "the connection ended") -> list[Delta]:
        """End the stream; return what was held back. ``why`` it ended is told where the answer is not whole."""
        deltas = self._take(self._events.close(at_ns))
        thought, text = self._thinking.close()
        if thought or text:
            deltas.append(self._keep(Delta(text, thought, at_ns=at_ns)))
        if not self.done and self._finish_reason is None:
            self.error = self.error or self._broken(why)
        return deltas

    def take_whole(self, body: bytes, at_ns: int) -> list[Delta]:
        """Take an answer that did not come as a stream."""
        self.done = True
        try:
            document = self._checked(read_document(body, self._where))
            if not document.choices:
                raise no_answer(self._where, body, "there is no choice in it")
        except ClientError as error:
            self.error = error
            return []
        self._model = document.model or ""
        return [self._keep(self._parted(whole_as_delta(document, at_ns)))]

    def _broken(self, why: str) -> BrokenStreamError:
        """Return the error for an answer that goes no further."""
        text = "".join(delta.content for delta in self._deltas)
        return BrokenStreamError(
            f"The answer of {self._where} stopped in the middle: {why}.", "Ask again; see the server's log.", text
        )

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

    def _take(self, events: list[Event]) -> list[Delta]:
        found: list[Delta] = []
        for event in events:
            if self.done or self.error:  # what comes after is nobody's
                break
            if event.data == DONE:
                self.done = True
                break
            try:
                delta = self._read(event)
            except ClientError as error:
                self.error = error
                break
            if delta is not None:
                found.append(self._keep(delta))
        return found

    def _read(self, event: Event) -> Delta | None:
        if event.name == "error":
            raise self._broken(f"it reports {server_said(event.data.encode())}")
        document = self._checked(read_document(event.data, self._where))
        self._model = self._model or document.model or ""
        usage = document.usage.value() if document.usage else None
        if not document.choices:
            return Delta(usage=usage, at_ns=event.at_ns) if usage else None
        choice = document.choices[0]
        said = choice.said
        thought, text = said.thought, said.text
        if text:
            more, text = self._thinking.feed(text)
            thought += more
        if not (text or thought or said.tool_calls or choice.finish_reason or usage or choice.likely):
            return None
        return Delta(text, thought, parts_of(said), choice.finish_reason, usage, event.at_ns, choice.likely)

    def _checked(self, document: Document) -> Document:
        if document.error:
            raise self._broken(f"it reports {server_said(json.dumps({'error': document.error}).encode())}")
        return document

    def _parted(self, delta: Delta) -> Delta:
        thought, text = self._thinking.feed(delta.content)
        more, rest = self._thinking.close()
        return msgspec.structs.replace(delta, content=text + rest, reasoning=delta.reasoning + thought + more)

    def _keep(self, delta: Delta) -> Delta:
        self._deltas.append(delta)
        return delta
