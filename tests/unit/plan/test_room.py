"""A plan that the disk has no room for says so before anything is fetched."""

from __future__ import annotations

import pytest

from provision.domain.facts import Disk
from provision.domain.finding import Severity
from provision.domain.plan import Plan
from provision.domain.selection import Selection
from provision.plan.diff import make_plan
from provision.plan.observed import Observed, nothing_there
from provision.plan.room import lack_of_room

NOTHING = nothing_there()


@pytest.fixture
def plan(selection: Selection) -> Plan:
    return make_plan(selection, NOTHING)


def test_a_small_disk_is_told_with_both_figures(plan: Plan) -> None:
    (finding,) = lack_of_room(plan, Disk("/data", 10 << 20))
    assert (finding.code, finding.severity) == ("DISK-LOW", Severity.ERROR)
    assert "/data" in finding.evidence
    assert "10 MiB are free" in finding.evidence


@pytest.mark.parametrize("disk", [Disk("/data", 100 << 30), Disk("/data", None)])
def test_room_enough_or_not_known_is_no_finding(plan: Plan, disk: Disk) -> None:
    assert list(lack_of_room(plan, disk)) == []


def test_what_is_there_already_takes_no_room(selection: Selection, settled: Observed) -> None:
    assert list(lack_of_room(make_plan(selection, settled), Disk("/data", 0))) == []
