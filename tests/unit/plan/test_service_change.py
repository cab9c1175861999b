from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from provision.domain.plan import Action, Kind
from provision.domain.selection import Selection
from provision.domain.server import ServerState
from provision.domain.state import ServiceUnit
from provision.plan.diff import make_plan
from provision.plan.observed import Observed
from provision.plan.service_change import SeenUnit, service_change
from provision.plan.service_unit import Unit

UNIT = Unit("systemd", "fabric-1.service", Path("/u/fabric-1.service"), "text")
RECORD = ServiceUnit("systemd", UNIT.name, str(UNIT.path), (hashlib.sha256(b"text").hexdigest(),))
SETTLED = SeenUnit(UNIT, RECORD, "text", enabled=True, lingers=False)
BEFORE = replace(RECORD, known=(hashlib.sha256(b"older").hexdigest(),))


@pytest.mark.parametrize(
    ("seen", "action", "told"),
    [
        (SETTLED, Action.NONE, "systemd keeps"),
        (SeenUnit(UNIT), Action.CREATE, "is to be made"),
        (replace(SETTLED, text=None), Action.CREATE, "is gone"),
        (replace(SETTLED, text="mine"), Action.UPDATE, "somebody else"),
        (SeenUnit(UNIT, None, "mine"), Action.UPDATE, "somebody else"),
        (replace(SETTLED, text="older", record=BEFORE), Action.UPDATE, "anew"),
        (SeenUnit(UNIT, None, "text"), Action.UPDATE, "anew"),
        (replace(SETTLED, enabled=False), Action.UPDATE, "disabled"),
        (replace(SETTLED, enabled=None), Action.NONE, "systemd keeps"),
        (replace(SETTLED, lingering=True), Action.UPDATE, "lingering is off"),
        (replace(SETTLED, lingering=True, lingers=True), Action.NONE, ""),
        (replace(SETTLED, lingering=True, lingers=None), Action.NONE, ""),
        (replace(SETTLED, lingers=True), Action.NONE, "", ),
        (replace(SETTLED, record=replace(RECORD, lingers=True)), Action.UPDATE, "any more"),
        (replace(SETTLED, record=replace(RECORD, service="launchd", path="/p")), Action.REPLACE, "launchd → systemd"),
        (SeenUnit(None, RECORD, "text"), Action.DELETE, "systemd → builtin"),
        (SeenUnit(None, RECORD), Action.DELETE, "systemd → builtin"),
    ],
)  # fmt: skip
def test_what_makes_the_service_as_it_should_be(seen: SeenUnit, action: Action, told: str) -> None:
    (change,) = service_change(seen, is_up=True)
    assert (change.action, change.kind, change.name) == (action, Kind.SERVICE, UNIT.name)
    assert told in change.reason


def test_where_there_is_none_and_none_is_wanted_nothing_is_said() -> None:
    assert service_change(SeenUnit(), is_up=True) == ()


def test_a_service_that_was_stopped_on_purpose_is_not_enabled() -> None:
    (change,) = service_change(replace(SETTLED, enabled=False), is_up=False)
    assert change.action is Action.NONE


def test_a_service_that_changes_restarts_the_server(selection: Selection, settled: Observed) -> None:
    plan = make_plan(selection, replace(settled, unit=SeenUnit(UNIT)))
    assert [(change.kind, change.action) for change in plan.changes[3:]] == [
        (Kind.SERVICE, Action.CREATE),
        (Kind.SERVER, Action.RESTART),
    ]
    assert plan.changes[4].reason == "its service changes"
    stopped = make_plan(selection, replace(settled, unit=SETTLED, server=ServerState.STOPPED))
    assert [change.action for change in stopped.changes[3:]] == [Action.NONE, Action.CREATE]
