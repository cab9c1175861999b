"""Timing whole processes: interleaved rounds, medians, ratios."""

from __future__ import annotations

import os
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence


def wall_s(argv: Sequence[str], env: Mapping[str, str] | None = None) -> float:
    """Return the wall time of one run. Raises where the command fails."""
    started = time.perf_counter()
    subprocess.run(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=dict(env or os.environ), check=True)
    return time.perf_counter() - started


def interleaved(measures: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Run all measures in turn, ``rounds`` times after one warm-up, and return the samples of each."""
    samples: dict[str, list[float]] = {name: [] for name in measures}
    for number in range(rounds + 1):
        for name, measure in measures.items():
            taken = measure()
            if number:
                samples[name].append(taken)
    return samples


def report(samples: Mapping[str, Sequence[float]], base: Mapping[str, str], limits: Mapping[str, float]) -> int:
    """Print the median of each measure and its ratio to its base; return 1 where a limit is exceeded.

    A ratio is the median of the ratios within each round, so that a slow minute of the machine cancels out.
    """
    failed = 0
    print(f"{'measure':<28}{'median ms':>10}{'ratio':>8}{'limit':>8}")
    for name, taken in samples.items():
        against = samples.get(base.get(name, ""), ())
        ratio = statistics.median(a / b for a, b in zip(taken, against, strict=True)) if against else None
        limit = limits.get(name)
        over = ratio is not None and limit is not None and ratio > limit
        failed |= over
        shown = f"{ratio:8.2f}" if ratio is not None else " " * 8
        print(f"{name:<28}{statistics.median(taken) * 1000:10.0f}{shown}{limit or '':>8}{'  OVER' if over else ''}")
    return int(failed)
