"""Following one of Ollama's long answers: progress, errors on the way, stalls, and an end without success."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from provision.domain.frozen import frozen
from provision.engines.ollama_answers import StreamLine, read_line
from provision.engines.ollama_errors import explain, explain_response
from provision.errors import UnreachableError
from provision.host.endpoint import EndpointClient, Response
from provision.host.line_stream import LineStream, post_for_lines

SUCCESS = "success"
Progress = Callable[[StreamLine], None]


def tell_nobody(_: object) -> None:
    """Take note of nothing."""


@frozen
class StallLimits:
    """How long nothing may happen: while bytes are to come, and while the server hashes or writes them."""

    idle_s: float = 120.0
    work_s: float = 1800.0

    def for_status(self, status: str) -> float:
        """Return the limit that holds after a line with this status."""
        return self.idle_s if not status or status.startswith("pulling") else self.work_s


class CutError(UnreachableError):
    """The connection to the server broke in the middle: asking again goes on where it was."""


@dataclass
class Following:
    """One long request. ``clock`` counts seconds."""

    client: EndpointClient
    doing: str
    limits: StallLimits = field(default_factory=StallLimits)
    progress: Progress = tell_nobody
    clock: Callable[[], float] = time.monotonic

    def run(self, path: str, document: Any) -> None:
        """POST and return after ``success``.

        Raises ``CutError`` where the connection breaks, ``UnreachableError`` for a stall or a server that is away,
        and what ``explain`` makes of an error that the server tells.
        """
        try:
            with post_for_lines(self.client, path, document, self.limits.idle_s) as answer:
                if answer.status != 200:
                    raise self._refused(answer)
                last = self._follow(answer)
        except TimeoutError as error:
            raise self._stalled("it sent nothing") from error
        except ConnectionRefusedError as error:
            raise explain_response(Response(0, error=str(error)), self.doing) from error
        except OSError as error:
            raise self._cut(str(error) or type(error).__name__) from error
        if last != SUCCESS:
            raise self._cut(f"the answer ended after {last!r}" if last else "the answer was empty")

    def _follow(self, answer: LineStream) -> str:
        """Return the last status."""
        before, since = StreamLine(), self.clock()
        for data in answer.lines():
            line = read_line(data)
            if line.error:
                raise explain(line.error, self.doing)
            if line != before:
                before, since = line, self.clock()
                answer.allow_silence(self.limits.for_status(line.status))
                self.progress(line)
            elif self.clock() - since > self.limits.for_status(line.status):
                raise self._stalled(f"it says {line.status!r} again and again")
        return before.status

    def _refused(self, answer: LineStream) -> Exception:
        response = Response(answer.status, b"\n".join(answer.lines()))
        return explain_response(response, self.doing)

    def _stalled(self, how: str) -> UnreachableError:
        return UnreachableError(
            f"Nothing has moved for too long while {self.doing}: {how}.",
            "Check the network and the disk, then try again; it goes on where it was.",
        )

    def _cut(self, why: str) -> CutError:
        return CutError(
            f"The connection to Ollama broke while {self.doing}: {why}.",
            "Try again, and it goes on where it was.",
        )
