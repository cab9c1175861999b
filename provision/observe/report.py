"""Reports as documents, with the keys of the command-line contract, and shown to people."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from provision.domain.measure import SmokeCheck, SmokeReport

if TYPE_CHECKING:
    from rich.console import Console

    from provision.domain.benchmark import BenchReport, LevelReport, RequestSample, Sample

SCHEMA = "fabric.bench/v1"
DECIMALS = 3


def smoke_to_json(report: SmokeReport) -> dict[str, Any]:
    """Return ``ok`` and ``checks[]{name,ok,detail,duration_ms}``."""
    return {"ok": report.ok, "checks": [_rounded(asdict(check)) for check in report.checks]}


def smoke_line(check: SmokeCheck) -> str:
    """Return the one line that a person reads about a check."""
    return f"{'ok  ' if check.ok else 'FAIL'} {check.name}: {check.detail} ({check.duration_ms:.0f} ms)"


def to_json(report: BenchReport) -> dict[str, Any]:
    """Return the figures and their definitions; ``null`` where a figure is not supported, never a guess."""
    from provision.observe.definitions import definitions

    return {
        "host": asdict(report.host) if report.host else None,
        "backend": report.backend,
        "model": report.model,
        "started_at": report.started_at,
        "duration_s": round(report.duration_s, DECIMALS),
        "options": {
            "repeats": report.repeats,
            "prompt_tokens": report.prompt_tokens,
            "output_tokens": report.output_tokens,
            "max_foreign_cpu_share": report.max_foreign_cpu_share,
        },
        "request": dict(report.parameters),
        "prompt_tokens_counted_by": report.counted_by,
        "levels": [_level(level) for level in report.levels],
        "engine_reported": _rounded(asdict(report.engine_reported)),
        "definitions": definitions(report.max_foreign_cpu_share),
    }


def to_json_text(report: BenchReport) -> str:
    """Return what is saved: the same, and below each level every sample with its moments."""
    import json

    document = to_json(report)
    for row, level in zip(document["levels"], report.levels, strict=True):
        row["samples"] = [_sample(sample) for sample in level.samples]
    return json.dumps({"schema": SCHEMA, **document}, indent=1) + "\n"


def bench_text(report: BenchReport) -> str:
    """Return table, plot and definitions as plain text."""
    from provision.observe.bench_table import plain_text

    return plain_text(report)


def print_bench(report: BenchReport, console: Console) -> None:
    """Show table, plot and definitions on a rich console."""
    from provision.observe.bench_table import print_rich

    print_rich(report, console)


def show_bench(report: BenchReport, saved_as: str) -> None:
    """Show a report on stdout, as it suits what stdout is."""
    if sys.stdout.isatty():
        from rich.console import Console

        print_bench(report, Console(highlight=False))
    else:
        sys.stdout.write(bench_text(report))
    sys.stdout.write(f"Saved as {saved_as}\n")


def _level(level: LevelReport) -> dict[str, Any]:
    document = asdict(level)
    for raw in ("samples", "engine", "error_examples", "notes"):
        del document[raw]
    return {
        **_rounded(document),
        "engine_reported": _rounded(asdict(level.engine)),
        "disturbed": level.disturbed,
        "error_examples": list(level.error_examples),
        "notes": list(level.notes),
    }


def _sample(sample: Sample) -> dict[str, Any]:
    return {
        "duration_s": round(sample.duration_s, DECIMALS),
        "foreign_cpu_share": _rounded(sample.foreign_cpu_share),
        "disturbed": sample.disturbed,
        "requests": [_request(request) for request in sample.requests],
    }


def _request(request: RequestSample) -> dict[str, Any]:
    """Moments are in milliseconds since the request was written."""
    return {
        "prompt_tokens": request.prompt_tokens,
        "cached_prompt_tokens": request.cached_prompt_tokens,
        "output_tokens": request.output_tokens,
        "finish_reason": request.finish_reason,
        "error": request.error,
        "engine": _rounded(asdict(request.engine)) if request.engine else None,
        "chunks_at_ms": [_since(request, delta.at_ns) for delta in request.deltas],
        "ended_at_ms": _since(request, request.ended_ns),
    }


def _since(request: RequestSample, at_ns: int) -> float:
    return round((at_ns - request.sent_ns) / 1e6, DECIMALS)


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, DECIMALS)
    if isinstance(value, dict):
        return {name: _rounded(each) for name, each in value.items()}
    return value
