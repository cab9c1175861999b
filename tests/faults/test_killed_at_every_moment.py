"""SIGKILL at every step of the journal, and at every rename, fsync and unlink: the next command heals everything.

First a run tells all its moments. Then it is killed at the first and at the last moment of each site (see
``tests/standin/moments.py``): between two calls from one place in the code nothing differs but the file. What the
change of a running server has shown is not tried again in the first ``up`` and on the way back from a failed one; only
what they do besides.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from provision.apply.generations import KNOWN_GENERATIONS
from tests.faults.oracle import WISH, Oracle
from tests.faults.striking import ENOUGH, elsewhere, moments_of, struck
from tests.standin.command import Fabric, Outcome
from tests.standin.moments import KILL, Moment

pytestmark = [
    pytest.mark.faults,
    pytest.mark.fault("killed-at-journal", "killed-at-write"),
    pytest.mark.timeout(600),
]

Record = Callable[[str, object], None]


def up(context: int) -> tuple[str, ...]:
    return ("up", *WISH, "--context", str(context))


def kill_at_each(moments: Iterable[Moment], run: Callable[[Moment, int], Outcome], record_property: Record) -> None:
    """Call ``run`` with each moment and its number; it strikes, checks, and returns how the struck command ended."""
    tried = [(moment, run(moment, number)) for number, moment in enumerate(moments)]
    killed = [moment for moment, outcome in tried if outcome.returncode == -signal.SIGKILL]
    missed = [str(moment) for moment in (each for each, _ in tried) if moment not in killed]
    assert len(killed) >= ENOUGH * len(tried), missed
    record_property("blows", len(killed))


def test_a_change_killed_anywhere_is_finished_by_the_next(
    quick: Fabric, oracle: Oracle, record_property: Record
) -> None:
    quick.succeed(*up(512))
    quick.succeed(*up(513))
    moments = moments_of(quick, *up(514))

    def run(moment: Moment, number: int) -> Outcome:
        outcome = struck(quick, moment, KILL, *up(600 + number))
        if outcome.returncode:
            oracle.survived(quick, outcome, -signal.SIGKILL, wish=up(600 + number)[1:])
        return outcome

    kill_at_each(moments, run, record_property)
    generations = list((quick.prefix / "gen").iterdir())
    assert len(generations) <= 2 * KNOWN_GENERATIONS + 1, "the removal of one that was cut short may wait"
    oracle.nothing_left(quick)


def test_a_first_up_killed_anywhere_is_finished_by_the_next(
    quick: Fabric, oracle: Oracle, record_property: Record
) -> None:
    moments = moments_of(quick, *up(512))
    quick.succeed(*up(513))
    moments = elsewhere(moments, moments_of(quick, *up(514)))
    quick.succeed("destroy", "--yes")

    def run(moment: Moment, number: int) -> Outcome:
        outcome = struck(quick, moment, KILL, "up", *WISH)
        if outcome.returncode:
            oracle.survived(quick, outcome, -signal.SIGKILL)
        quick.succeed("destroy", "--yes")
        return outcome

    kill_at_each(moments, run, record_property)
    oracle.nothing_left(quick)


def test_going_back_killed_anywhere_is_healed_by_the_next(
    quick: Fabric, failing_model: Path, oracle: Oracle, record_property: Record
) -> None:
    quick.succeed(*up(512))
    quick.succeed(*up(513))
    change = moments_of(quick, *up(514))
    broken = ("up", *WISH[:1], *WISH[3:], "--model", f"file:{failing_model}")
    moments = elsewhere(moments_of(quick, *broken, code=1), change)

    def run(moment: Moment, number: int) -> Outcome:
        outcome = struck(quick, moment, KILL, *broken)
        if outcome.returncode != 1:
            oracle.survived(quick, outcome, -signal.SIGKILL, wish=up(514)[1:])
        return outcome

    kill_at_each(moments, run, record_property)
    oracle.nothing_left(quick)


@pytest.mark.parametrize("more", [(), ("--keep-models",)], ids=["all", "keep models"])
def test_a_destroy_killed_anywhere_is_finished_by_the_next(
    quick: Fabric, oracle: Oracle, record_property: Record, more: tuple[str, ...]
) -> None:
    quick.succeed("up", *WISH)
    moments = moments_of(quick, "destroy", "--yes", *more)

    def run(moment: Moment, number: int) -> Outcome:
        quick.succeed("up", *WISH)
        outcome = struck(quick, moment, KILL, "destroy", "--yes", *more)
        if number % 2 and outcome.returncode:
            oracle.met(outcome, -signal.SIGKILL)
            oracle.converges(quick)
        oracle.nothing_left(quick)
        return outcome

    kill_at_each(moments, run, record_property)


def test_the_clearing_of_what_a_killed_run_left_is_killed_as_well(
    quick: Fabric, oracle: Oracle, record_property: Record
) -> None:
    staged = next(moment for moment in moments_of(quick, "up", *WISH) if moment.point == "rename")
    quick.succeed("destroy", "--yes")
    struck(quick, staged, KILL, "up", *WISH)
    assert (quick.prefix / "staging").exists()
    clearing = [moment for moment in moments_of(quick, "up", *WISH) if "journal.py" in moment.site.split("changing")[0]]
    assert len(clearing) > 2

    def run(moment: Moment, number: int) -> Outcome:
        quick.succeed("destroy", "--yes")
        struck(quick, staged, KILL, "up", *WISH)
        outcome = struck(quick, moment, KILL, "up", *WISH)
        oracle.survived(quick, outcome, -signal.SIGKILL)
        return outcome

    kill_at_each([moment for moment in clearing if "changing" in moment.site], run, record_property)
    oracle.nothing_left(quick)
