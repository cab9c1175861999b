"""The marker ``fault(id, …)``: what a test injects; and, at the end of a run, what was injected and what survived.

Counted are the pairs of a fault and a test that ran (each parameter is a test of its own), whatever the test does. A
test that strikes again and again says how often with ``record_property("blows", N)``; that is counted apart.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any

import pytest

from tests.faults.aftermath import JUDGED
from tests.faults.table import UNIT, faults

COMMAND = "./bootstrap.sh test -m fault"
_FAULTS, _BLOWS = "faults", "blows"


def of(item: pytest.Item) -> tuple[str, ...]:
    """Return the ids of the faults that a test injects."""
    return tuple(str(name) for marker in item.iter_markers("fault") for name in marker.args)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what this machine cannot inject."""
    names = of(item)
    if names:
        item.user_properties.append((_FAULTS, ",".join(names)))
        lacking = {need for name in names if (need := faults()[name].why_not())}
        if lacking:
            pytest.skip(f"this machine lacks {', '.join(sorted(lacking))}")


class Tally:
    """Collects the outcome of every test that injects a fault; with several workers, in the one that reports."""

    def __init__(self) -> None:
        self.injected: Counter[str] = Counter()
        self.failed: Counter[str] = Counter()
        self.skipped: dict[str, set[str]] = defaultdict(set)
        self.judged: set[str] = set()
        self.blows = 0

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Count a test once: when it ran, or when it could not."""
        told: dict[str, Any] = dict(report.user_properties)
        names = {name for name in str(told.get(_FAULTS, "")).split(",") if name}
        ran = report.when == "call" and not report.skipped
        self.blows += int(told.get(_BLOWS, 0)) if ran and names else 0
        for name in names:
            if report.skipped:
                self.skipped[name].add(_reason(report))
            elif report.failed:
                self.failed[name] += 1
            if ran:
                self.injected[name] += 1
                self.judged |= {name} if told.get(JUDGED) else set()

    def lines(self) -> Iterator[str]:
        """Yield what there is to tell."""
        known = faults()
        cannot = [fault for fault in known.values() if fault.cannot]
        survived = [name for name in self.injected if name not in self.failed]
        only_skipped = [name for name in self.skipped if name not in self.injected]
        yield (
            f"{len(known)} faults known: {len(self.injected)} injected in {sum(self.injected.values())} ways, "
            f"{len(survived)} survived, {len(self.failed)} failed, {len(only_skipped)} skipped, "
            f"{len(cannot)} cannot be injected on such a machine"
        )
        whole = [name for name in survived if name in self.judged]
        yield (
            f"Of those that survived, {len(whole)} were judged by the whole oracle and {len(survived) - len(whole)} "
            f"by tests of functions alone. A way is a fault and a test; the sweeps struck {self.blows} times."
        )
        yield from (f"FAILED  {name}: {known[name].name}" for name in self.failed)
        for name in survived:
            if name not in self.judged:
                is_meant = known[name].level == UNIT
                yield f"{'functions alone' if is_meant else 'NOT JUDGED'}  {name}: {known[name].name}"
        for name, reasons in self.skipped.items():
            how_much = "skipped" if name in only_skipped else "partly skipped"
            yield from (f"{how_much}  {name}: {reason}" for reason in sorted(reasons))
        yield from (f"cannot  {fault.id}: {fault.cannot}" for fault in cannot)
        yield f"All of them: {COMMAND}"

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Print the count where a fault was injected, or should have been."""
        if self.injected or self.skipped or self.failed:
            terminalreporter.section("faults")
            for line in self.lines():
                terminalreporter.write_line(line)


def _reason(report: pytest.TestReport) -> str:
    told = report.longrepr
    return str(told[2]).removeprefix("Skipped: ") if isinstance(told, tuple) else str(told)


def pytest_configure(config: pytest.Config) -> None:
    """Count in the process that reports, not in its workers."""
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Tally(), "faults-tally")
