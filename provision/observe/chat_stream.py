"""A recorded answer of ``/v1/chat/completions`` as values: deltas, usage, the engine's timings. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from provision.domain.benchmark import Delta, EngineTimings, RequestSample
from provision.domain.sse import DONE, Event, events
from provision.domain.visible import visible
from provision.host.recording import Recording
from provision.host.server_said import server_said

# Where engines put what the model thinks before it answers: llama.cpp and vLLM, OpenRouter-like servers, refusals.
_HIDDEN = ("reasoning_content", "reasoning", "refusal", "tool_calls")


@dataclass
class ChatStream:
    """What a stream of ``chat.completion.chunk`` objects holds. ``broken`` is the first thing that is not one."""

    deltas: list[Delta] = field(default_factory=list)
    usage: dict[str, Any] | None = None
    timings: dict[str, Any] | None = None
    finish_reason: str | None = None
    finished_at_ns: int | None = None
    done: bool = False
    error: str | None = None
    broken: str | None = None
    chunks: int = 0
    _counted: int = 0

    def take(self, event: Event) -> None:
        """Add one event; what comes after ``[DONE]`` is nobody's."""
        if self.done:
            return
        if event.data == DONE:
            self.done = True
            return
        try:
            chunk = json.loads(event.data)
        except (ValueError, RecursionError):
            chunk = None
        if not isinstance(chunk, dict):
            self.broken = self.broken or f"an event that is not a JSON object: {event.data[:80]!r}"
        elif chunk.get("error") or event.name == "error":
            self.error = self.error or server_said(event.data.encode())
        else:
            self.chunks += 1
            self._take_chunk(chunk, event.at_ns)

    def _take_chunk(self, chunk: dict[str, Any], at_ns: int) -> None:
        usage = _mapping(chunk.get("usage"))
        self.usage = usage or self.usage
        self.timings = _mapping(chunk.get("timings")) or self.timings
        choices = chunk.get("choices")
        for choice in choices if isinstance(choices, list) else ():
            if isinstance(choice, dict):
                self._take_choice(choice, usage, at_ns)

    def _take_choice(self, choice: dict[str, Any], usage: dict[str, Any] | None, at_ns: int) -> None:
        delta = _mapping(choice.get("delta")) or {}
        visible = bool(delta.get("content"))
        if visible or any(delta.get(name) for name in _HIDDEN):
            self.deltas.append(Delta(at_ns, self._newly_counted(usage), visible))
        if choice.get("finish_reason"):
            self.finish_reason, self.finished_at_ns = str(choice["finish_reason"]), at_ns

    def _newly_counted(self, usage: dict[str, Any] | None) -> int | None:
        """Return the tokens since the last delta, where every chunk carries the usage so far."""
        total = _count(usage, "completion_tokens")
        if total is None:
            return None
        new, self._counted = total - self._counted, total
        return new


def parse(found: Iterable[Event]) -> ChatStream:
    """Read the events of one answer."""
    stream = ChatStream()
    for event in found:
        stream.take(event)
    return stream


def parse_recording(recording: Recording) -> ChatStream:
    """Cut a recording into events and read them."""
    return parse(events((arrival.at_ns, arrival.data) for arrival in recording.arrivals))


def to_sample(recording: Recording) -> RequestSample:
    """Turn one exchange into a sample; whatever went wrong is its ``error``."""
    stream = parse_recording(recording)
    tokens = _count(stream.usage, "completion_tokens")
    engine = engine_timings(stream.timings)
    return RequestSample(
        sent_ns=recording.sent_ns,
        ended_ns=recording.ended_ns,
        deltas=tuple(stream.deltas),
        output_tokens=tokens if tokens is not None else sum(d.tokens or 1 for d in stream.deltas),
        prompt_tokens=_count(stream.usage, "prompt_tokens"),
        cached_prompt_tokens=cached_tokens(stream),
        estimated=tokens is None,
        stopped_at_ns=stream.finished_at_ns if stream.finish_reason == "stop" else None,
        finish_reason=stream.finish_reason,
        engine=engine,
        error=_failure(recording, stream),
        reads=len(recording.arrivals),
        client_cpu_ns=recording.cpu_ns,
        client_wait_ns=recording.wait_ns,
    )


def cached_tokens(stream: ChatStream) -> int | None:
    """Return how many prompt tokens came from the prefix cache: by usage, else by llama.cpp's timings."""
    details = _mapping((stream.usage or {}).get("prompt_tokens_details"))
    by_usage = _count(details, "cached_tokens")
    return by_usage if by_usage is not None else _count(stream.timings, "cache_n")


def engine_timings(timings: dict[str, Any] | None) -> EngineTimings | None:
    """Read llama.cpp's ``timings`` object; ``None`` where it is absent or incomplete."""
    names = ("prompt_ms", "prompt_per_second", "predicted_ms", "predicted_per_second")
    values = [(timings or {}).get(name) for name in names]
    numbers = [float(value) for value in values if isinstance(value, (int, float))]
    return EngineTimings(*numbers) if len(numbers) == len(names) else None


def _failure(recording: Recording, stream: ChatStream) -> str | None:
    if recording.error:
        return visible(recording.error)
    if recording.status != 200:
        return f"HTTP {recording.status}: {server_said(recording.body)}"
    if stream.error or stream.broken:
        return stream.error or stream.broken
    if not stream.deltas:
        return "no output" if stream.chunks else f"no event stream: {server_said(recording.body)}"
    return None if stream.finish_reason or stream.done else "the stream ended in the middle of the answer"


def _mapping(value: Any) -> dict[str, Any] | None:
    return value if isinstance(value, dict) else None


def _count(mapping: dict[str, Any] | None, name: str) -> int | None:
    value = (mapping or {}).get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
