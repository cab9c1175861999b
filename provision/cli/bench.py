"""``fabric bench``."""

from __future__ import annotations

from typing import Annotated

import typer

from provision.cli.session import Result, Session, verb
from provision.errors import UsageError

MIN_REPEATS = 3
MAX_CONCURRENCY = 256


@verb("bench")
def command(
    session: Session,
    concurrency: Annotated[str, typer.Option("--concurrency", help="Levels, separated by commas.")] = "1,2,4",
    repeats: Annotated[int, typer.Option("--repeats", help=f"Samples of each level; at least {MIN_REPEATS}.")] = 3,
    prompt_tokens: Annotated[int, typer.Option("--prompt-tokens", help="Length of each prompt.")] = 64,
    output_tokens: Annotated[int, typer.Option("--output-tokens", help="Tokens to generate for each request.")] = 64,
) -> Result:
    """Measure latency and throughput of the running server, and say how each figure is defined.

    Exit 1 where no request of a level was answered.

    [bold]fabric bench --concurrency 1,4,8 --output-tokens 128[/bold]
    """
    from provision.observe import report
    from provision.observe.bench import BenchOptions

    if repeats < MIN_REPEATS:
        raise UsageError(f"{repeats} repeats say nothing about noise.", f"Use --repeats {MIN_REPEATS} or more.")
    levels = _levels(concurrency)
    options = BenchOptions(
        concurrency=levels, repeats=repeats, prompt_tokens=prompt_tokens, output_tokens=output_tokens
    )
    measured, path = session.fabric.bench(options)
    document = {**report.to_json(measured), "report": str(path)}
    nobody_answered = any(level.errors == level.requests for level in measured.levels)
    return Result(document, lambda: report.show_bench(measured, str(path)), int(nobody_answered))


def _levels(text: str) -> tuple[int, ...]:
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not parts or not all(part.isdigit() and 0 < int(part) <= MAX_CONCURRENCY for part in parts):
        raise UsageError(f"--concurrency {text!r} is not a list of numbers from 1 to {MAX_CONCURRENCY}.", "Like 1,2,4.")
    return tuple(int(part) for part in parts)
