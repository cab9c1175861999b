"""The samples of one concurrency, pooled into one row of the report. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from provision.domain.benchmark import (
    ClientCost,
    EngineRates,
    EngineTimings,
    LevelReport,
    Percentiles,
    RequestSample,
    Sample,
)
from provision.observe import latency

MAX_LAG_OF_TPOT = 0.05
MAX_ERROR_EXAMPLES = 3
MAX_CACHED_SHARE = 0.1


def level_report(concurrency: int, samples: Sequence[Sample], repeated_samples: int) -> LevelReport:
    """Pool ``samples``; failed requests count as errors and in no figure."""
    requests = [request for sample in samples for request in latency.answered(sample)]
    failed = [request.error for sample in samples for request in sample.requests if request.error]
    tpot = _each(requests, latency.tpot_ms)
    token_by_token = bool(requests) and all(latency.one_token_per_chunk(request) for request in requests)
    gaps = latency.percentiles(gap for request in requests for gap in latency.inter_chunk_ms(request))
    chunks = sum(len(request.deltas) for request in requests)
    shares = [sample.foreign_cpu_share for sample in samples if sample.foreign_cpu_share is not None]
    return LevelReport(
        concurrency=concurrency,
        requests=len(requests) + len(failed),
        errors=len(failed),
        ttft_ms=_each(requests, latency.ttft_ms),
        ttft_visible_ms=_each(requests, latency.ttft_visible_ms),
        tpot_ms=tpot,
        itl_ms=gaps if token_by_token else Percentiles(),
        inter_chunk_ms=gaps,
        e2e_ms=_each(requests, latency.e2e_ms),
        output_tokens_per_s=latency.decode_throughput(samples),
        request_output_tokens_per_s=latency.request_throughput(samples),
        system_output_tokens_per_s=latency.system_throughput(samples),
        requests_per_s=latency.requests_per_s(samples),
        prompt_tokens=_each(requests, lambda request: request.prompt_tokens),
        output_tokens=_each(requests, lambda request: request.output_tokens),
        cached_prompt_tokens=_total(request.cached_prompt_tokens for request in requests),
        tokens_per_chunk=sum(request.output_tokens for request in requests) / chunks if chunks else None,
        engine=_engine_rates([request.engine for request in requests if request.engine]),
        client=_client_cost(requests, tpot.p50),
        foreign_cpu_share=max(shares, default=None),
        disturbed_samples=sum(sample.disturbed for sample in samples),
        repeated_samples=repeated_samples,
        error_examples=tuple(text for text, _ in Counter(failed).most_common(MAX_ERROR_EXAMPLES)),
        notes=tuple(_notes(requests, samples, token_by_token=token_by_token)),
        samples=tuple(samples),
    )


def _notes(requests: Sequence[RequestSample], samples: Sequence[Sample], *, token_by_token: bool) -> Iterable[str]:
    """What a reader of the figures has to know."""
    if any(request.estimated for request in requests):
        yield "the server gave no usage: tokens are counted by chunks, an estimate"
    elif requests and not token_by_token:
        yield "chunks and tokens differ in number: itl_ms is not given, inter_chunk_ms is"
    disturbed = sum(sample.disturbed for sample in samples)
    if disturbed:
        yield f"{disturbed} of {len(samples)} samples were disturbed by other processes"
    if any(sample.foreign_cpu_share is None for sample in samples):
        yield "what other processes took of the processor is not known"
    cached = _total(request.cached_prompt_tokens for request in requests) or 0
    prompt = _total(request.prompt_tokens for request in requests) or 0
    if cached > MAX_CACHED_SHARE * prompt:
        yield f"the prefix cache answered {cached} of {prompt} prompt tokens: ttft_ms is not that of a cold prompt"


def _each(requests: Iterable[RequestSample], measure: Callable[[RequestSample], float | None]) -> Percentiles:
    return latency.percentiles(value for request in requests if (value := measure(request)) is not None)


def _total(counts: Iterable[int | None]) -> int | None:
    """Return the sum of what is known; ``None`` where nothing is."""
    known = [count for count in counts if count is not None]
    return sum(known) if known else None


def _engine_rates(timings: Sequence[EngineTimings]) -> EngineRates:
    """Weight each request's rate by its time: the sum of tokens over the sum of times."""
    return EngineRates(
        _weighted([(one.prompt_tokens_per_s, one.prompt_ms) for one in timings]),
        _weighted([(one.output_tokens_per_s, one.output_ms) for one in timings]),
    )


def _weighted(pairs: Sequence[tuple[float, float]]) -> float | None:
    weight = sum(each for _, each in pairs)
    return sum(value * each for value, each in pairs) / weight if weight > 0 else None


def _client_cost(requests: Sequence[RequestSample], tpot_p50_ms: float | None) -> ClientCost:
    reads = sum(request.reads for request in requests)
    if not reads:
        return ClientCost()
    waits = [request.client_wait_ns for request in requests if request.client_wait_ns is not None]
    lag_us = sum(waits) / 1e3 / reads if len(waits) == len(requests) else None
    late = lag_us is not None and tpot_p50_ms is not None and lag_us / 1e3 > MAX_LAG_OF_TPOT * tpot_p50_ms
    return ClientCost(sum(request.client_cpu_ns for request in requests) / 1e3 / reads, lag_us, late)
