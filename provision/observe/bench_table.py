"""A report as tables and bars: rich on a terminal, plain text elsewhere. Both show the same cells."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from provision.domain.benchmark import BenchReport, LevelReport
from provision.domain.frozen import frozen
from provision.observe.definitions import definitions

if TYPE_CHECKING:
    from rich.console import Console

BAR_COLUMNS = 40
TEXT_COLUMNS = 100
UNKNOWN = "-"

_RATES = (
    "concurrency",
    "requests",
    "errors",
    "output",
    "request output",
    "engine output",
    "engine prompt",
    "system output",
    "requests/s",
)
_LATENCIES = ("concurrency", "ms", "p50", "p90", "p99", "max")


@frozen
class Table:
    """A title, the heads of the columns, and rows of text."""

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]


@frozen
class Bar:
    """One line of a plot; ``length`` is in columns, ``style`` a colour of rich."""

    label: str
    length: int
    value: str
    style: str


def plain_text(report: BenchReport) -> str:
    """Return everything as text without colour."""
    lines = [heading(report), ""]
    for table in tables(report):
        lines += [table.title, *_aligned(table), ""]
    for title, bars in plots(report):
        lines += [title, *(f"{bar.label:>5} {'#' * bar.length} {bar.value}" for bar in bars), ""]
    lines += [f"Note: {note}" for note in notes(report)]
    lines += ["Definitions", *_wrapped_definitions(report)]
    return "\n".join(lines) + "\n"


def print_rich(report: BenchReport, console: Console) -> None:
    """Print everything in colour, as wide as the terminal is."""
    from rich import box
    from rich import table as rich_table
    from rich.markup import escape
    from rich.text import Text

    console.print(escape(heading(report)), style="bold", soft_wrap=True)
    for table in tables(report):
        shown = rich_table.Table(title=table.title, box=box.SIMPLE_HEAD, title_justify="left", pad_edge=False)
        for column, title in enumerate(table.head):
            shown.add_column(title, justify="left" if (column and title == "ms") else "right")
        for row in table.rows:
            shown.add_row(*(escape(cell) for cell in row))
        console.print(shown)
    for title, bars in plots(report):
        console.print(title, style="bold")
        for bar in bars:
            console.print(Text.assemble(f"{bar.label:>5} ", ("█" * bar.length, bar.style), f" {bar.value}"))
        console.print()
    for note in notes(report):
        console.print(Text(f"Note: {note}", style="yellow"))
    console.print("Definitions", style="bold")
    for line in _wrapped_definitions(report):
        console.print(Text(line, style="dim"))


def heading(report: BenchReport) -> str:
    """Return what was measured, on what, and how."""
    host = report.host
    machine = f", {host.cpu or 'processor unknown'}, {host.cores_usable} cores usable" if host else ""
    backend = f" on {report.backend}" if report.backend else ""
    return (
        f"{report.model}{backend}{machine}\n"
        f"Prompts of {report.prompt_tokens} tokens (by {report.counted_by}), answers of {report.output_tokens}; "
        f"{report.repeats} samples at each concurrency; {report.duration_s:.0f} s"
    )


def tables(report: BenchReport) -> list[Table]:
    """Return the throughput and the latency table."""
    latencies = [row for level in report.levels for row in _latency_rows(level)]
    return [
        Table("Throughput, tokens per second", _RATES, [_rate_row(level) for level in report.levels]),
        Table("Latency", _LATENCIES, latencies),
    ]


def plots(report: BenchReport) -> list[tuple[str, list[Bar]]]:
    """Return bars of throughput and of the median TTFT by concurrency."""
    return [
        ("Output tokens per second by concurrency", _bars(report, "green", lambda level: level.output_tokens_per_s)),
        ("TTFT p50 in ms by concurrency", _bars(report, "cyan", lambda level: level.ttft_ms.p50)),
    ]


def notes(report: BenchReport) -> Iterator[str]:
    """Return what a reader has to know beside the figures."""
    for level in report.levels:
        for note in (*level.notes, *(f"an error: {text}" for text in level.error_examples)):
            yield f"concurrency {level.concurrency}: {note}"
    clients = [level.client for level in report.levels if level.client.cpu_us_per_read is not None]
    if clients:
        cost_us = max(client.cpu_us_per_read or 0.0 for client in clients)
        lag = [client.lag_us for client in clients if client.lag_us is not None]
        late = f", and reads were at most {max(lag):.0f} us late on average" if lag else ""
        yield f"the client took at most {cost_us:.0f} us of processor time for each read{late}"


def _rate_row(level: LevelReport) -> list[str]:
    figures = (
        level.output_tokens_per_s,
        level.request_output_tokens_per_s,
        level.engine.output_tokens_per_s,
        level.engine.prompt_tokens_per_s,
        level.system_output_tokens_per_s,
    )
    rate = UNKNOWN if level.requests_per_s is None else f"{level.requests_per_s:.2f}"
    flagged = f"{level.concurrency}{' disturbed' if level.disturbed else ''}"
    return [flagged, str(level.requests), str(level.errors), *(_number(figure) for figure in figures), rate]


def _latency_rows(level: LevelReport) -> Iterator[list[str]]:
    gaps = ("ITL", level.itl_ms) if level.itl_ms.samples else ("inter-chunk", level.inter_chunk_ms)
    shown = [("TTFT", level.ttft_ms), ("TPOT", level.tpot_ms), gaps, ("end to end", level.e2e_ms)]
    if level.ttft_visible_ms != level.ttft_ms:
        shown.insert(1, ("TTFT visible", level.ttft_visible_ms))
    for name, figures in shown:
        cells = (figures.p50, figures.p90, figures.p99, figures.max)
        yield [str(level.concurrency), name, *(_number(cell) for cell in cells)]


def _bars(report: BenchReport, style: str, measure: Callable[[LevelReport], float | None]) -> list[Bar]:
    values = [(str(level.concurrency), measure(level) or 0.0) for level in report.levels]
    longest = max((value for _, value in values), default=0.0) or 1.0
    return [Bar(label, round(BAR_COLUMNS * value / longest), _number(value), style) for label, value in values]


def _number(value: float | None) -> str:
    if value is None:
        return UNKNOWN
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.1f}"


def _aligned(table: Table) -> list[str]:
    grid = [list(table.head), *table.rows]
    widths = [max(len(row[column]) for row in grid) for column in range(len(table.head))]
    return ["  ".join(f"{cell:>{width}}" for cell, width in zip(row, widths, strict=True)) for row in grid]


def _wrapped_definitions(report: BenchReport) -> list[str]:
    lines: list[str] = []
    for name, text in definitions(report.max_foreign_cpu_share).items():
        lines += textwrap.wrap(f"{name}: {text}", TEXT_COLUMNS, initial_indent="  ", subsequent_indent="    ")
    return lines
