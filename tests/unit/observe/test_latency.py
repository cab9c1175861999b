from __future__ import annotations

import statistics
from collections.abc import Sequence
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provision.domain.benchmark import Delta, Percentiles, RequestSample, Sample
from provision.observe import latency

MS = 1_000_000


def request(
    at_ms: Sequence[float],
    tokens: int | None = None,
    *,
    sent_ms: float = 0,
    ended_ms: float | None = None,
    per_chunk: Sequence[int] | None = None,
    stopped_ms: float | None = None,
    error: str | None = None,
) -> RequestSample:
    """A request whose chunks arrive at these moments."""
    counts: Sequence[int | None] = per_chunk or [None] * len(at_ms)
    deltas = tuple(Delta(int(at * MS), count) for at, count in zip(at_ms, counts, strict=True))
    last = at_ms[-1] if at_ms else sent_ms
    return RequestSample(
        sent_ns=int(sent_ms * MS),
        ended_ns=int((last if ended_ms is None else ended_ms) * MS),
        deltas=deltas,
        output_tokens=len(at_ms) if tokens is None else tokens,
        stopped_at_ns=None if stopped_ms is None else int(stopped_ms * MS),
        error=error,
    )


def test_times_of_one_request() -> None:
    one = request([150, 170, 190, 210], sent_ms=100, ended_ms=215)
    assert latency.ttft_ms(one) == 50
    assert latency.e2e_ms(one) == 115
    assert latency.tpot_ms(one) == 20
    assert latency.inter_chunk_ms(one) == [20, 20, 20]
    assert latency.one_token_per_chunk(one)


def test_the_first_visible_token_comes_after_the_reasoning() -> None:
    thinking = RequestSample(0, 90 * MS, (Delta(10 * MS, visible=False), Delta(30 * MS), Delta(40 * MS)), 3)
    assert latency.ttft_ms(thinking) == 10
    assert latency.ttft_visible_ms(thinking) == 30
    assert latency.ttft_visible_ms(RequestSample(0, 5, (Delta(1, visible=False),), 1)) is None


def test_an_answer_of_one_token_has_no_time_per_token() -> None:
    one = request([50])
    assert latency.tpot_ms(one) is None
    assert latency.decode_interval(one) is None


def test_chunks_of_several_tokens_are_counted_by_usage() -> None:
    four_each = request([100, 180, 260], tokens=12)
    assert latency.tpot_ms(four_each) == 160 / 8
    assert not latency.one_token_per_chunk(four_each)


def test_usage_in_each_chunk_is_exact_where_the_first_is_unlike_the_others() -> None:
    uneven = request([100, 180, 260], tokens=9, per_chunk=[1, 4, 4])
    assert latency.tpot_ms(uneven) == 160 / 8
    assert not latency.one_token_per_chunk(uneven)
    assert latency.one_token_per_chunk(request([1, 2, 3], tokens=3, per_chunk=[1, 1, 1]))


def test_the_token_that_ends_the_text_is_timed_by_the_finish_reason() -> None:
    stopped = request([100, 110, 120], tokens=4, stopped_ms=130)
    assert latency.tpot_ms(stopped) == 10
    assert latency.one_token_per_chunk(stopped)


def test_a_finish_reason_is_no_token_where_the_counts_agree() -> None:
    stopped = request([100, 110, 120], tokens=3, stopped_ms=190)
    assert latency.tpot_ms(stopped) == 10


def test_counted_by_chunks_is_never_taken_for_exact() -> None:
    guessed = RequestSample(0, 9, (Delta(1), Delta(2)), output_tokens=2, estimated=True)
    assert not latency.one_token_per_chunk(guessed)


def test_an_answer_read_all_at_once_has_no_decode_rate() -> None:
    at_once = Sample((request([50, 50, 50]),), 0.1)
    assert latency.decode_throughput([at_once]) is None
    assert latency.request_throughput([at_once]) is None
    assert latency.system_throughput([at_once]) == pytest.approx(30)


def test_at_concurrency_1_throughput_is_tokens_over_decode_time() -> None:
    samples = [Sample((request([100, 110, 120]), request([300, 310, 320], sent_ms=200)), 0.4)]
    assert latency.decode_throughput(samples) == pytest.approx(100)
    assert latency.request_throughput(samples) == pytest.approx(100)
    assert latency.system_throughput(samples) == pytest.approx(6 / 0.4)
    assert latency.requests_per_s(samples) == pytest.approx(5)


def test_above_it_what_runs_side_by_side_adds_up() -> None:
    samples = [Sample((request([100, 120, 140]), request([100, 120, 140])), 0.2)]
    assert latency.decode_throughput(samples) == pytest.approx(100)
    assert latency.request_throughput(samples) == pytest.approx(50)


def test_time_in_which_nothing_is_decoded_does_not_count() -> None:
    queued = Sample((request([100, 110, 120]), request([500, 510, 520])), 0.6)
    assert latency.decode_throughput([queued]) == pytest.approx(100)


def test_failed_requests_are_in_no_throughput() -> None:
    sample = Sample((request([100, 110, 120]), request([100, 101], error="lost")), 1.0)
    assert latency.decode_throughput([sample]) == pytest.approx(100)
    assert latency.requests_per_s([sample]) == 1
    assert latency.decode_throughput([Sample((request([1, 2], error="lost"),), 1.0)]) is None


def test_percentiles_of_nothing_and_of_one() -> None:
    assert latency.percentiles([]) == Percentiles()
    assert latency.percentiles([3.0]) == Percentiles(1, 3.0, 3.0, None, None, 3.0)


@pytest.mark.parametrize(
    ("count", "p90", "p99"), [(9, None, None), (10, 8.1, None), (99, 88.2, None), (100, 89.1, 98.01)]
)
def test_a_percentile_is_claimed_only_where_a_value_lies_above_it(
    count: int, p90: float | None, p99: float | None
) -> None:
    found = latency.percentiles(range(count))
    assert found.p90 == pytest.approx(p90)
    assert found.p99 == pytest.approx(p99)


@given(st.lists(st.floats(-1e9, 1e9), min_size=100, max_size=150))
def test_percentiles_agree_with_the_standard_library(values: list[float]) -> None:
    cuts = statistics.quantiles(values, n=100, method="inclusive")
    found = latency.percentiles(values)
    expected = pytest.approx((cuts[49], cuts[89], cuts[98]), rel=1e-9, abs=1e-3)
    assert (found.p50, found.p90, found.p99) == expected


@given(st.lists(st.floats(0, 1e6), min_size=1), st.randoms())
def test_percentiles_are_ordered_and_ask_for_no_order(values: list[float], random: Random) -> None:
    found = latency.percentiles(values)
    known = [figure for figure in (found.p50, found.p90, found.p99, found.max) if figure is not None]
    assert known == sorted(known)
    assert min(values) <= known[0]
    random.shuffle(values)
    assert latency.percentiles(values) == found


intervals = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)).map(lambda pair: (min(pair), max(pair))))


@given(intervals)
def test_the_union_of_intervals_counts_each_moment_once(given_intervals: list[tuple[int, int]]) -> None:
    moments = {moment for start, end in given_intervals for moment in range(start, end)}
    assert latency.covered_ns(given_intervals) == len(moments)
