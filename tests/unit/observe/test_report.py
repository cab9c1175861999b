from __future__ import annotations

import io
import json
from typing import Any

import pytest  # noqa: TC002 - beside the tests it types
from rich.console import Console

from provision.domain.benchmark import (
    BenchHost,
    BenchReport,
    Delta,
    EngineTimings,
    RequestSample,
    Sample,
)
from provision.domain.facts import Cpu, Facts, Memory, OperatingSystem
from provision.observe import report
from provision.observe.level_report import level_report

MS = 1_000_000
PERCENTILES = {"p50", "p90", "p99"}


def request(number: int, **changes: Any) -> RequestSample:
    sent = number * 200 * MS
    fields: dict[str, Any] = {
        "sent_ns": sent,
        "ended_ns": sent + 151 * MS,
        "deltas": tuple(Delta(sent + (50 + 10 * index) * MS) for index in range(11)),
        "output_tokens": 11,
        "prompt_tokens": 64,
        "cached_prompt_tokens": 3,
        "finish_reason": "length",
        "engine": EngineTimings(50.0, 1280.0, 100.0, 100.0),
        "reads": 12,
        "client_cpu_ns": 1_200_000,
        "client_wait_ns": 600_000,
    }
    return RequestSample(**{**fields, **changes})


def bench_report(*, disturbed: bool = False, error: str | None = None) -> BenchReport:
    calm = Sample(tuple(request(number) for number in range(5)), 1.0, 0.011)
    last = request(5) if error is None else RequestSample(0, MS, error=error)
    other = Sample((last, *(request(number) for number in range(6, 10))), 1.0, 0.3 if disturbed else 0.0, disturbed)
    levels = (level_report(1, [calm, other], 2), level_report(4, [calm], 0))
    return BenchReport(
        model="smollm2-135m",
        levels=levels,
        repeats=2,
        prompt_tokens=64,
        output_tokens=11,
        counted_by="/tokenize",
        max_foreign_cpu_share=0.06,
        parameters={"max_tokens": 11, "ignore_eos": True},
        started_at=1_790_000_000.0,
        duration_s=3.21,
        host=BenchHost("A [fast] CPU", 2, 8 << 30, "debian 13", "x86_64"),
        backend="llamacpp",
    )


def test_the_document_has_the_keys_of_the_contract() -> None:
    document = report.to_json(bench_report())
    assert {"host", "backend", "model", "levels", "engine_reported"} <= set(document)
    assert document["engine_reported"] == {"prompt_tokens_per_s": 1280.0, "output_tokens_per_s": 100.0}
    level = document["levels"][0]
    assert (level["concurrency"], level["requests"], level["errors"]) == (1, 10, 0)
    for name in ("ttft_ms", "tpot_ms", "itl_ms", "e2e_ms"):
        assert set(level[name]) >= PERCENTILES
    assert level["ttft_ms"]["p50"] == 50
    assert level["ttft_ms"]["p99"] is None
    assert level["itl_ms"]["p99"] == 10
    assert level["output_tokens_per_s"] == 100
    assert level["requests_per_s"] == 5
    assert level["engine_reported"]["output_tokens_per_s"] == 100
    assert level["cached_prompt_tokens"] == 30
    assert level["client"] == {"cpu_us_per_read": 100.0, "lag_us": 50.0, "lagging": False}
    assert (level["disturbed"], level["disturbed_samples"], level["repeated_samples"]) == (False, 0, 2)
    assert "samples" not in level
    json.dumps(document)


def test_every_figure_of_the_document_is_defined() -> None:
    document = report.to_json(bench_report())
    figures = {name for name in document["levels"][0] if name.endswith(("_ms", "_per_s"))}
    assert figures <= set(document["definitions"])
    assert "6%" in document["definitions"]["disturbed"]


def test_a_client_that_reads_late_is_marked() -> None:
    slow = tuple(request(number, client_wait_ns=12 * 600_000) for number in range(3))
    client = level_report(1, [Sample(slow, 1.0)], 0).client
    assert client.lag_us == 600
    assert client.lagging
    unknown = level_report(1, [Sample((request(0, client_wait_ns=None),), 1.0)], 0).client
    assert (unknown.lag_us, unknown.lagging) == (None, False)


def test_engine_timings_are_weighted_by_time() -> None:
    requests = (
        request(0, engine=EngineTimings(10.0, 100.0, 100.0, 50.0)),
        request(1, engine=EngineTimings(30.0, 200.0, 300.0, 90.0)),
        request(2, engine=None),
    )
    engine = level_report(1, [Sample(requests, 1.0)], 0).engine
    assert (engine.prompt_tokens_per_s, engine.output_tokens_per_s) == (175, 80)


def test_the_saved_report_keeps_the_moments() -> None:
    document = json.loads(report.to_json_text(bench_report(error="lost")))
    assert document["schema"] == "fabric.bench/v1"
    calm, other = document["levels"][0]["samples"]
    assert calm["requests"][0]["chunks_at_ms"] == [50 + 10 * index for index in range(11)]
    assert calm["requests"][0]["ended_at_ms"] == 151
    assert other["requests"][0]["error"] == "lost"
    assert document["levels"][0]["error_examples"] == ["lost"]


def test_plain_text_has_figures_plot_and_definitions_and_no_colour() -> None:
    text = report.bench_text(bench_report(disturbed=True, error="lost"))
    assert "\x1b" not in text
    assert text.isascii()
    assert "smollm2-135m on llamacpp, A [fast] CPU, 2 cores usable" in text
    rows = [line.split() for line in text.splitlines()]
    assert ["1", "disturbed", "10", "1", "100.0", "100.0", "100.0", "1280", "49.5", "4.50"] in rows
    assert ["4", "5", "0", "100.0", "100.0", "100.0", "1280", "55.0", "5.00"] in rows
    assert ["4", "TTFT", "50.0", "-", "-", "50.0"] in rows
    assert ["1", "#" * 40, "100.0"] in rows
    assert "Note: concurrency 1: 1 of 2 samples were disturbed by other processes" in text
    assert "Note: concurrency 1: an error: lost" in text
    assert "Definitions" in text
    assert max(len(line) for line in text.splitlines()) <= 130


def test_a_terminal_shows_the_same_figures_in_colour() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, color_system="standard", width=110, highlight=False)
    report.print_bench(bench_report(), console)
    assert isinstance(console.file, io.StringIO)
    shown = console.file.getvalue()
    assert "\x1b[32m" + "█" * 40 in shown
    assert "A [fast] CPU" in shown
    assert "1280" in shown
    assert "Definitions" in shown


def test_off_a_terminal_it_is_text_and_says_where_it_was_saved(capsys: pytest.CaptureFixture[str]) -> None:
    report.show_bench(bench_report(), "/somewhere/bench.json")
    out = capsys.readouterr().out
    assert out == report.bench_text(bench_report()) + "Saved as /somewhere/bench.json\n"


def test_a_report_without_figures_can_be_shown() -> None:
    failed = Sample((RequestSample(0, MS, error="lost"),), 1.0)
    empty = BenchReport("m", (level_report(2, [failed], 0),), 3, 64, 64, "usage", 0.06)
    text = report.bench_text(empty)
    assert ["2", "TTFT", "-", "-", "-", "-"] in [line.split() for line in text.splitlines()]
    assert report.to_json(empty)["levels"][0]["output_tokens_per_s"] is None
    assert report.to_json(BenchReport("m", (), 3, 64, 64, "usage", 0.06))["engine_reported"] == {
        "prompt_tokens_per_s": None,
        "output_tokens_per_s": None,
    }


def test_the_host_comes_from_the_facts() -> None:
    facts = Facts(
        os=OperatingSystem(system="Linux", distribution="debian", version="13", arch="x86_64"),
        cpu=Cpu(model="Fast", cores_usable=2),
        memory=Memory(total_bytes=5),
    )
    assert BenchHost.of(facts) == BenchHost("Fast", 2, 5, "debian 13", "x86_64")
    assert BenchHost.of(Facts()) == BenchHost()
