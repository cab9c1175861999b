"""From samples to figures. Pure; ``definitions.py`` says the same in words for readers of a report.

Sources: TTFT, TPOT and ITL as vLLM's ``bench serve`` and NVIDIA's "NIM LLMs Benchmarking: Metrics" define them,
with three differences that the field has had to learn: a chunk that carries no output is not a first token;
tokens are counted by the server's usage and never by chunks; and ITL is given only where a chunk is a token.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import pairwise

from provision.domain.benchmark import Percentiles, RequestSample, Sample

NS_PER_MS = 1e6
NS_PER_S = 1e9


def ttft_ms(request: RequestSample) -> float | None:
    """Time to first token: from just before the request is written to the first piece of output read."""
    return (request.deltas[0].at_ns - request.sent_ns) / NS_PER_MS if request.deltas else None


def ttft_visible_ms(request: RequestSample) -> float | None:
    """The same to the first piece of the answer itself, after any reasoning; ``None`` where there was none."""
    first = next((delta.at_ns for delta in request.deltas if delta.visible), None)
    return None if first is None else (first - request.sent_ns) / NS_PER_MS


def e2e_ms(request: RequestSample) -> float:
    """End-to-end latency: from just before the request is written to the end of the answer."""
    return (request.ended_ns - request.sent_ns) / NS_PER_MS


def ended_by_model(request: RequestSample) -> bool:
    """Tell whether the last counted token is the one that ends a text, which has no chunk but a finish reason."""
    return request.stopped_at_ns is not None and request.output_tokens == len(request.deltas) + 1


def first_chunk_tokens(request: RequestSample) -> float:
    """Tokens in the first piece: as the server says, else the mean of all pieces."""
    said = request.deltas[0].tokens
    if said is not None:
        return float(said)
    return (request.output_tokens - ended_by_model(request)) / len(request.deltas)


def decode_tokens(request: RequestSample) -> float:
    """Tokens after the first piece: n - 1 where each piece is one token."""
    return max(0.0, request.output_tokens - first_chunk_tokens(request)) if request.deltas else 0.0


def decode_interval(request: RequestSample) -> tuple[int, int] | None:
    """The time, in ns, from the first to the last token; ``None`` where there are no two moments."""
    if not request.deltas:
        return None
    first, last = request.deltas[0].at_ns, request.deltas[-1].at_ns
    if ended_by_model(request) and request.stopped_at_ns is not None:
        last = request.stopped_at_ns
    return (first, last) if last > first else None


def tpot_ms(request: RequestSample) -> float | None:
    """Time per output token: (last - first) / (n - 1), so without the first token and its prefill."""
    interval, tokens = decode_interval(request), decode_tokens(request)
    return (interval[1] - interval[0]) / NS_PER_MS / tokens if interval and tokens > 0 else None


def inter_chunk_ms(request: RequestSample) -> list[float]:
    """The gaps between pieces of output, however many tokens each holds."""
    moments = [delta.at_ns for delta in request.deltas]
    return [(after - before) / NS_PER_MS for before, after in pairwise(moments)]


def one_token_per_chunk(request: RequestSample) -> bool:
    """Tell whether the gaps between pieces are gaps between tokens."""
    if request.estimated:
        return False
    if all(delta.tokens is not None for delta in request.deltas):
        return all(delta.tokens == 1 for delta in request.deltas)
    return len(request.deltas) == request.output_tokens - ended_by_model(request)


def percentiles(values: Iterable[float]) -> Percentiles:
    """Summarise; a percentile p is given only where at least one of n values lies above it: n (1 - p) >= 1.

    Between two order statistics it is interpolated linearly, h = (n - 1) p: type 7 of Hyndman and Fan,
    "Sample Quantiles in Statistical Packages" (1996).
    """
    ordered = sorted(values)
    if not ordered:
        return Percentiles()
    count = len(ordered)
    p50, p90, p99 = (
        _quantile(ordered, percent / 100) if percent == 50 or count * (100 - percent) >= 100 else None
        for percent in (50, 90, 99)
    )
    return Percentiles(count, math.fsum(ordered) / count, p50, p90, p99, ordered[-1])


def _quantile(ordered: Sequence[float], p: float) -> float:
    h = (len(ordered) - 1) * p
    low = math.floor(h)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (h - low) * (ordered[high] - ordered[low])


def covered_ns(intervals: Iterable[tuple[int, int]]) -> int:
    """Return the length of the union of ``intervals``."""
    total, reached = 0, None
    for start, end in sorted(intervals):
        begin = start if reached is None else max(start, reached)
        if end > begin:
            total += end - begin
            reached = end
    return total


def decode_throughput(samples: Sequence[Sample]) -> float | None:
    """Tokens after the first of each request, over the time in which at least one request was being decoded.

    At concurrency 1 that is the sum of (n - 1) over the sum of (last - first), which is what an engine reports
    of itself; above 1 it is what all requests together got, queueing and an empty batch left out.
    """
    decoded = [_decoded(sample) for sample in samples]
    tokens = sum(amount for sample in decoded for _, amount in sample)
    time_ns = sum(covered_ns(interval for interval, _ in sample) for sample in decoded)
    return tokens * NS_PER_S / time_ns if time_ns and tokens else None


def request_throughput(samples: Sequence[Sample]) -> float | None:
    """What a single request got: the sum of (n - 1) over the sum of (last - first), at any concurrency."""
    decoded = [both for sample in samples for both in _decoded(sample)]
    tokens = sum(amount for _, amount in decoded)
    time_ns = sum(end - start for (start, end), _ in decoded)
    return tokens * NS_PER_S / time_ns if time_ns and tokens else None


def system_throughput(samples: Sequence[Sample]) -> float | None:
    """All output tokens over the whole time of the samples: prefill, queueing, ramp and drain included."""
    return _over_time(samples, sum(request.output_tokens for sample in samples for request in answered(sample)))


def requests_per_s(samples: Sequence[Sample]) -> float | None:
    """Answered requests over the whole time of the samples."""
    return _over_time(samples, sum(len(answered(sample)) for sample in samples))


def answered(sample: Sample) -> list[RequestSample]:
    """Return the requests that did not fail."""
    return [request for request in sample.requests if request.error is None]


def _decoded(sample: Sample) -> list[tuple[tuple[int, int], float]]:
    """Return when each answered request was decoded, and how many tokens; those read all at once have no time."""
    return [
        (interval, decode_tokens(request)) for request in answered(sample) if (interval := decode_interval(request))
    ]


def _over_time(samples: Sequence[Sample], amount: int) -> float | None:
    duration_s = sum(sample.duration_s for sample in samples)
    return amount / duration_s if amount and duration_s > 0 else None
