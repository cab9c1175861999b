from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from provision.domain.benchmark import BenchReport, LevelReport, Sample
from provision.errors import UnreachableError
from provision.host.contention import CpuSnapshot
from provision.host.endpoint import EndpointClient
from provision.observe import bench
from provision.observe.bench import BenchOptions, quietest
from tests.standin.openai_server import OpenAIServer, Script, serving

QUICK = BenchOptions(concurrency=(1,), repeats=3, prompt_tokens=32, output_tokens=12, max_foreign_cpu_share=1.0)


def measure(server: OpenAIServer, options: BenchOptions = QUICK) -> BenchReport:
    said: list[str] = []
    return bench.run(lambda: EndpointClient(server.base_url, timeout_s=10), "scripted", list, options, said.append)


def level(script: Script, options: BenchOptions = QUICK) -> LevelReport:
    with serving(script) as server:
        return measure(server, options).levels[0]


def close(value: float) -> object:
    """To the engine's own account, of which the client sees a copy that is a little late."""
    return pytest.approx(value, rel=0.05)


def test_figures_of_a_paced_server() -> None:
    found = level(Script(prompt_s=0.03, token_s=0.01))
    assert (found.concurrency, found.requests, found.errors) == (1, 12, 0)
    assert found.output_tokens_per_s == close(found.engine.output_tokens_per_s or 0)
    assert found.output_tokens_per_s == found.request_output_tokens_per_s
    assert (found.ttft_ms.p50 or 0) >= 30
    assert (found.tpot_ms.p50 or 0) >= 9.5
    assert (found.itl_ms.samples, found.itl_ms) == (12 * 11, found.inter_chunk_ms)
    assert (found.e2e_ms.p50 or 0) >= 30 + 11 * 10
    assert (found.output_tokens.p50, found.tokens_per_chunk) == (12, 1)
    assert (found.prompt_tokens.p50, found.prompt_tokens.max) == (32, 32)
    assert found.system_output_tokens_per_s is not None
    assert found.output_tokens_per_s is not None
    assert found.system_output_tokens_per_s < found.output_tokens_per_s
    assert found.requests_per_s == pytest.approx(found.system_output_tokens_per_s / 12)
    assert found.notes == ()


def test_chunks_of_several_tokens_are_counted_by_usage() -> None:
    found = level(Script(token_s=0.005, tokens_per_chunk=4))
    assert found.tokens_per_chunk == 4
    assert found.itl_ms.samples == 0
    assert found.inter_chunk_ms.samples == 12 * 2
    assert found.output_tokens_per_s == close((found.engine.output_tokens_per_s or 0) * 8 / 11)  # after the first 4
    assert "itl_ms is not given" in found.notes[0]


def test_several_events_in_a_packet_are_several_chunks() -> None:
    found = level(Script(token_s=0.005, events_per_packet=3, cut_in_two=True))
    assert (found.errors, found.tokens_per_chunk) == (0, 1)


def test_the_first_chunk_without_text_is_no_token() -> None:
    found = level(Script(prompt_s=0.0, token_s=0.02, role_first=True, reasoning=2))
    assert (found.ttft_visible_ms.p50 or 0) - (found.ttft_ms.p50 or 0) >= 30
    assert found.errors == 0


def test_the_end_of_text_token_is_in_the_count_and_in_the_time() -> None:
    found = level(Script(token_s=0.01, stop=True))
    assert found.output_tokens.p50 == 12
    assert found.itl_ms.samples == 12 * 10
    assert found.output_tokens_per_s == close(found.engine.output_tokens_per_s or 0)


def test_without_usage_the_figures_are_called_an_estimate() -> None:
    found = level(Script(usage=False, token_s=0.001))
    assert found.output_tokens.p50 == 12
    assert "an estimate" in found.notes[0]
    assert found.itl_ms.samples == 0


def test_cached_prompt_tokens_are_reported_and_told_about() -> None:
    found = level(Script(cached=20))
    assert found.cached_prompt_tokens == 20 * 12
    assert "the prefix cache answered 240 of 384 prompt tokens" in found.notes[0]
    assert level(Script(cached=3)).notes == ()


def test_a_server_without_timings_has_none() -> None:
    with serving(Script(timings=False)) as server:
        report = measure(server)
    assert report.engine_reported.output_tokens_per_s is None
    assert report.levels[0].output_tokens_per_s is not None


def test_no_two_requests_of_a_run_begin_alike_and_each_has_the_wanted_shape() -> None:
    with serving(Script()) as server:
        measure(server)
    first_words = [chat["messages"][0]["content"].split()[0] for chat in server.chats]
    assert len(set(first_words)) == len(first_words) == 1 + 1 + 12
    assert {chat["max_tokens"] for chat in server.chats} == {2, 12}
    assert all(chat["ignore_eos"] is True and chat["cache_prompt"] is False for chat in server.chats)


def test_extensions_that_a_server_refuses_are_left_out() -> None:
    with serving(Script(refuses=("ignore_eos",))) as server:
        report = measure(server)
    assert "ignore_eos" not in report.parameters
    assert report.levels[0].errors == 0


def test_a_limit_that_a_hosted_model_refuses_gets_its_newer_name() -> None:
    with serving(Script(counting="usage", refuses=("ignore_eos", "max_tokens"))) as server:
        report = measure(server)
    assert report.levels[0].errors == 0
    assert "max_tokens" not in report.parameters
    assert server.chats[-1]["max_completion_tokens"] == report.output_tokens


def test_levels_have_one_discarded_warm_up_request_each() -> None:
    options = replace(QUICK, concurrency=(1, 3), requests_per_level=3)
    with serving(Script(token_s=0.002)) as server:
        report = measure(server, options)
    assert [found.requests for found in report.levels] == [9, 9]
    assert len(server.chats) == 1 + 2 * (1 + 9)
    assert server.most_busy >= 3


def test_requests_default_to_four_or_one_for_each_client() -> None:
    assert [BenchOptions().requests(clients) for clients in (1, 4, 16)] == [4, 4, 16]


def test_queueing_shows_in_ttft_and_not_in_the_decode_rate() -> None:
    found = level(Script(prompt_s=0.01, token_s=0.005, slots=1), replace(QUICK, concurrency=(4,)))
    assert found.output_tokens_per_s == pytest.approx(found.request_output_tokens_per_s, rel=0.05)
    assert (found.ttft_ms.max or 0) >= 3 * (10 + 11 * 5)  # the last waits for three others


def test_side_by_side_requests_add_up() -> None:
    found = level(Script(token_s=0.02), replace(QUICK, concurrency=(4,)))
    assert found.output_tokens_per_s is not None
    assert found.request_output_tokens_per_s is not None
    assert 2.5 < found.output_tokens_per_s / found.request_output_tokens_per_s <= 4.001


def test_failures_are_counted_and_quoted() -> None:
    with serving(Script()) as server:
        calls = 0

        def failing_later() -> EndpointClient:
            nonlocal calls
            calls += 1
            if calls == 4:  # after counting, the trial and the warm-up
                server.script.error_after = 5
            return EndpointClient(server.base_url, timeout_s=10)

        report = bench.run(failing_later, "scripted", list, QUICK, lambda _: None)
    found = report.levels[0]
    assert (found.requests, found.errors) == (12, 12)
    assert found.error_examples == ("out of memory",)
    assert found.output_tokens_per_s is None
    assert found.ttft_ms.samples == 0


@pytest.mark.parametrize(
    ("script", "said"),
    [
        (Script(error_after=0), "out of memory"),
        (Script(counting="vllm", answer=(500, '{"error": "broken"}')), "HTTP 500: broken"),
        (Script(answer=(400, '{"error": {"message": "exceeds the context"}}')), "HTTP 400: exceeds the context"),
        (Script(counting="usage", load_s=60), "how many tokens"),
    ],
)
def test_a_server_that_cannot_do_it_at_all_is_an_error(script: Script, said: str) -> None:
    with serving(script) as server, pytest.raises(UnreachableError, match=said):
        measure(server)


def cpu_that_is(foreign: list[bool]) -> Callable[[list[int]], CpuSnapshot]:
    """Snapshots that make each sample (two snapshots) look disturbed or not; the warm-up comes first."""
    clock = {"calls": 0, "busy_s": 0.0}

    def snapshot(_: list[int]) -> CpuSnapshot:
        sample, end = divmod(int(clock["calls"]), 2)
        clock["calls"] += 1
        if end and sample > 0 and foreign[sample - 1]:
            clock["busy_s"] += 1000.0
        return CpuSnapshot(clock["busy_s"], {}, 1)

    return snapshot


@pytest.mark.parametrize(
    ("foreign", "disturbed", "repeated"),
    [
        ([False] * 3, 0, 0),
        ([False, True, False, False], 0, 1),
        ([True, True, True, False, False, False], 0, 3),
        ([True] * 6, 3, 3),
        ([True, True, True, True, False, False], 1, 3),
    ],
)
def test_disturbed_samples_are_taken_again_and_otherwise_flagged(
    foreign: list[bool], disturbed: int, repeated: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench, "snapshot", cpu_that_is(foreign))
    with serving(Script()) as server:
        found = measure(server, replace(QUICK, max_foreign_cpu_share=0.06, requests_per_level=1)).levels[0]
    assert (found.disturbed_samples, found.repeated_samples) == (disturbed, repeated)
    assert found.disturbed is bool(disturbed)
    assert len(found.samples) == 3
    assert any("disturbed" in note for note in found.notes) is bool(disturbed)
    assert len(server.chats) == 2 + len(foreign)


def test_unknown_contention_is_no_disturbance_and_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "snapshot", lambda _: None)
    found = level(Script(), replace(QUICK, max_foreign_cpu_share=0.06))
    assert (found.foreign_cpu_share, found.disturbed) == (None, False)
    assert "not known" in found.notes[0]


def test_the_quietest_samples_stay_in_their_order() -> None:
    samples = [Sample((), 1.0, share) for share in (0.5, 0.0, 0.2, 0.1)]
    assert [sample.foreign_cpu_share for sample in quietest(samples, 3)] == [0.0, 0.2, 0.1]
