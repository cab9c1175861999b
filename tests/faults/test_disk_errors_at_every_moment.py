"""EIO, ENOSPC and EFBIG at every rename, fsync and unlink: told in words, and what served before serves.

The moments are those of ``test_killed_at_every_moment.py``. Where the error is of no consequence the command ends well;
everywhere else with 73 for a disk that is full and 1 for one that is broken.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

import pytest

from tests.faults.oracle import WISH, Oracle, assert_whole, temporary
from tests.faults.striking import ENOUGH, elsewhere, fell, moments_of, struck
from tests.standin.command import Fabric, Outcome
from tests.standin.moments import JOURNAL, Moment

pytestmark = [pytest.mark.faults, pytest.mark.fault("disk-error"), pytest.mark.timeout(900)]
REMOVING = ("unlink", "rmdir")  # what cannot be removed stays until the next change
CODES = {"EIO": 1, "ENOSPC": 73, "EFBIG": 73}

Record = Callable[[str, object], None]


def up(context: int) -> tuple[str, ...]:
    return ("up", *WISH, "--context", str(context))


def refused(oracle: Oracle, outcome: Outcome, blow: str, moment: Moment) -> None:
    """Check how the command ended: well, or with the code of this error."""
    oracle.met(outcome)
    assert outcome.returncode in (0, CODES[blow]), f"{blow} at {moment}: {outcome.said}"


@dataclass
class Blows:
    """How many were struck, and how many of them fell."""

    tried: int = 0
    fell: int = 0

    def strike(self, fabric: Fabric, moment: Moment, blow: str, *words: str) -> Outcome:
        """Run the command and raise the error at the moment."""
        outcome = struck(fabric, moment, blow, *words)
        self.tried += 1
        self.fell += fell(fabric)
        return outcome

    def told(self, record_property: Record) -> None:
        """Note how many errors were raised; a moment that is not reached any more is no moment that was survived."""
        assert self.fell >= ENOUGH * self.tried > 0, f"{self.fell} of {self.tried} errors were raised"
        record_property("blows", self.fell)


def of_the_disk(moments: list[Moment]) -> list[Moment]:
    return [moment for moment in moments if moment.point != JOURNAL]


def test_a_change_that_the_disk_refuses_leaves_what_served_before(
    quick: Fabric, oracle: Oracle, record_property: Record
) -> None:
    quick.succeed(*up(512))
    quick.succeed(*up(513))
    moments = of_the_disk(moments_of(quick, *up(514)))
    quick.succeed(*up(512))
    blows = Blows()
    for moment in moments:
        for blow in CODES:
            outcome = blows.strike(quick, moment, blow, *up(600))
            refused(oracle, outcome, blow, moment)
            assert_whole(quick.prefix)
            assert not temporary(quick.prefix) or moment.point in REMOVING, f"{blow} at {moment}"
            assert quick.succeed("status")["state"] == "ready", f"{blow} at {moment}: {outcome.said}"
            oracle.converges(quick, up(512)[1:])
    blows.told(record_property)
    oracle.nothing_left(quick)


def test_a_first_up_that_the_disk_refuses_leaves_nothing_in_the_way(
    quick: Fabric, oracle: Oracle, record_property: Record
) -> None:
    moments = moments_of(quick, *up(512))
    quick.succeed(*up(513))
    moments = of_the_disk(elsewhere(moments, moments_of(quick, *up(514))))
    oracle.nothing_left(quick)
    blows = Blows()
    for moment in moments:
        for blow in CODES:
            outcome = blows.strike(quick, moment, blow, "up", *WISH)
            refused(oracle, outcome, blow, moment)
            assert_whole(quick.prefix)
            assert not temporary(quick.prefix) or moment.point in REMOVING, f"{blow} at {moment}"
            if blow == "EIO":
                oracle.converges(quick)
            quick.succeed("destroy", "--yes")
    blows.told(record_property)
    oracle.nothing_left(quick)


def test_a_way_back_that_the_disk_refuses_is_gone_by_the_next(
    quick: Fabric, failing_model: Path, oracle: Oracle, record_property: Record
) -> None:
    quick.succeed(*up(512))
    quick.succeed(*up(513))
    change = moments_of(quick, *up(514))
    broken = ("up", *WISH[:1], *WISH[3:], "--model", f"file:{failing_model}")
    moments = of_the_disk(elsewhere(moments_of(quick, *broken, code=1), change))
    blows = Blows()
    for moment, blow in zip(moments, cycle(CODES), strict=False):
        outcome = blows.strike(quick, moment, blow, *broken)
        assert outcome.returncode != 0, f"{blow} at {moment}: {outcome.said}"
        oracle.survived(quick, outcome, wish=up(514)[1:])
    blows.told(record_property)
    oracle.nothing_left(quick)


@pytest.mark.parametrize("more", [(), ("--keep-models",)], ids=["all", "keep models"])
def test_a_destroy_that_the_disk_refuses_is_finished_by_the_next(
    quick: Fabric, oracle: Oracle, record_property: Record, more: tuple[str, ...]
) -> None:
    quick.succeed("up", *WISH)
    blows = Blows()
    for moment in of_the_disk(moments_of(quick, "destroy", "--yes", *more)):
        for blow in CODES:
            quick.succeed("up", *WISH)  # what one blow has left standing may have no such moment for the next
            refused(oracle, blows.strike(quick, moment, blow, "destroy", "--yes", *more), blow, moment)
            oracle.nothing_left(quick)
    blows.told(record_property)
