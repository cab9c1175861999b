from __future__ import annotations

import json
from typing import Any

import pytest

from provision.domain.benchmark import EngineTimings
from provision.host.endpoint import Arrival
from provision.host.recording import Recording
from provision.host.server_said import server_said
from provision.observe.chat_stream import engine_timings, parse_recording, to_sample

TIMINGS = {"prompt_ms": 100.0, "prompt_per_second": 640.0, "predicted_ms": 630.0, "predicted_per_second": 100.0}


def chunk(finish_reason: str | None = None, usage: Any = None, **delta: Any) -> str:
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
    return json.dumps({"choices": [choice], **({"usage": usage} if usage else {})})


def end(**fields: Any) -> str:
    return json.dumps({"choices": [], **fields})


def recorded(*data: str, status: int = 200, error: str | None = None) -> Recording:
    """One event a millisecond."""
    arrivals = tuple(Arrival(ms * 1_000_000, f"data: {text}\n\n".encode()) for ms, text in enumerate(data, start=1))
    return Recording(status, 0, 99_000_000, arrivals, error)


def test_a_whole_answer_becomes_a_sample() -> None:
    usage = {"prompt_tokens": 9, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 3}}
    sample = to_sample(
        recorded(
            chunk(role="assistant", content=None),
            chunk(content="Hel"),
            chunk(content="lo"),
            chunk("length"),
            end(usage=usage, timings=TIMINGS),
            "[DONE]",
        )
    )
    assert sample.error is None
    assert [delta.at_ns for delta in sample.deltas] == [2_000_000, 3_000_000]
    assert (sample.prompt_tokens, sample.output_tokens, sample.cached_prompt_tokens) == (9, 2, 3)
    assert sample.engine == EngineTimings(100.0, 640.0, 630.0, 100.0)
    assert (sample.finish_reason, sample.stopped_at_ns, sample.estimated) == ("length", None, False)


def test_a_stop_is_timed() -> None:
    assert to_sample(recorded(chunk(content="x"), chunk("stop"))).stopped_at_ns == 2_000_000


@pytest.mark.parametrize(
    ("delta", "visible"),
    [
        ({"content": "x"}, True),
        ({"reasoning_content": "x"}, False),
        ({"reasoning": "x", "content": ""}, False),
        ({"tool_calls": [{"index": 0}]}, False),
        ({"refusal": "no"}, False),
    ],
)
def test_whatever_a_model_writes_is_output(delta: dict[str, Any], visible: bool) -> None:
    (found,) = parse_recording(recorded(chunk(**delta))).deltas
    assert found.visible is visible


@pytest.mark.parametrize("delta", [{}, {"role": "assistant"}, {"content": ""}, {"content": None, "tool_calls": []}])
def test_an_empty_chunk_is_none(delta: dict[str, Any]) -> None:
    assert parse_recording(recorded(chunk(**delta))).deltas == []


def test_without_usage_chunks_are_counted_and_called_an_estimate() -> None:
    sample = to_sample(recorded(chunk(content="a"), chunk(content="b"), chunk("length"), "[DONE]"))
    assert (sample.output_tokens, sample.estimated, sample.cached_prompt_tokens) == (2, True, None)


def test_usage_so_far_tells_what_each_chunk_holds() -> None:
    stream = parse_recording(
        recorded(
            chunk(content="a", usage={"completion_tokens": 1}), chunk(content="bcd", usage={"completion_tokens": 4})
        )
    )
    assert [delta.tokens for delta in stream.deltas] == [1, 3]


def test_cached_tokens_by_the_timings_where_usage_does_not_say() -> None:
    usage = {"prompt_tokens": 9, "completion_tokens": 1}
    timings = {**TIMINGS, "cache_n": 4}
    assert to_sample(recorded(chunk(content="a"), end(usage=usage, timings=timings))).cached_prompt_tokens == 4


@pytest.mark.parametrize(
    "timings", [None, {}, {**TIMINGS, "predicted_ms": None}, {k: v for k, v in TIMINGS.items() if k != "prompt_ms"}]
)
def test_half_of_the_timings_are_none(timings: dict[str, Any] | None) -> None:
    assert engine_timings(timings) is None


@pytest.mark.parametrize(
    ("recording", "said"),
    [
        (recorded(chunk(content="a"), error="silent for 9 s"), "silent for 9 s"),
        (Recording(0, 0, 1, error="refused"), "refused"),
        (Recording(503, 0, 1, (Arrival(1, b'{"error":{"message":"Loading model"}}'),)), "HTTP 503: Loading model"),
        (Recording(200, 0, 1, (Arrival(1, b"<html><h1>Welcome</h1></html>"),)), "no event stream: Welcome"),
        (recorded(chunk(content="a"), json.dumps({"error": {"message": "out of memory"}})), "out of memory"),
        (recorded(chunk(content="a"), "{half"), "an event that is not a JSON object: '{half'"),
        (recorded(chunk(content="a"), "[1]"), "an event that is not a JSON object: '[1]'"),
        (recorded(chunk(role="assistant"), chunk("stop"), "[DONE]"), "no output"),
        (recorded(chunk(content="a")), "the stream ended in the middle of the answer"),
    ],
)
def test_what_went_wrong_is_said(recording: Recording, said: str) -> None:
    assert to_sample(recording).error == said


@pytest.mark.parametrize(
    "odd",
    [
        {"choices": None},
        {"choices": [None]},
        {"choices": [{"delta": "x"}]},
        {"usage": 7, "choices": []},
        {"usage": {"completion_tokens": True}, "choices": [{"delta": {"content": "x"}}]},
        {"timings": "fast"},
    ],
)
def test_odd_chunks_do_not_raise(odd: dict[str, Any]) -> None:
    to_sample(recorded(json.dumps(odd)))


def test_what_comes_after_done_is_ignored() -> None:
    stream = parse_recording(recorded(chunk(content="a"), "[DONE]", "{half"))
    assert stream.done
    assert stream.broken is None


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b'{"error": {"message": "no such model", "type": "x"}}', "no such model"),
        (b'{"error": "model not found"}', "model not found"),
        (b'{"detail": "Not Found"}', "Not Found"),
        (b'{"error": {"code": 5}}', '{"code": 5}'),
        (b'"plain"', "plain"),
        (b'{"other": 1}', '{"other": 1}'),
        (b"<html><style>p {}</style><p>Bad\n gateway</p></html>", "Bad gateway"),
        (b"", "nothing"),
        (b"\xff", "�"),
        (b"x" * 500, "x" * 199 + "…"),
    ],
)
def test_the_servers_own_words(body: bytes, said: str) -> None:
    assert server_said(body) == said
