from __future__ import annotations

import pytest

from provision.apply.drift import config_drift
from provision.apply.records import record
from provision.apply.verify import verify
from provision.domain.state import State
from provision.host.files import point
from provision.host.layout import Layout
from tests.standin.selections import select_for_small_machine


@pytest.mark.parametrize(
    ("target", "found"),
    [("gen/2", []), ("gen/1", ["current leads to gen/1, not gen/2"]), (None, ["current is missing"])],
)
def test_current_has_to_lead_to_what_is_configured(layout: Layout, target: str | None, found: list[str]) -> None:
    layout.generation(2).mkdir(parents=True)
    entry = record(layout, "config", "llamacpp", layout.generation(2))
    state = State("lineage", generation=2, selection=select_for_small_machine(), entries={entry.key: entry})
    if target:
        point(layout.current, target)
    assert [drift.detail for drift in config_drift(layout, state, dict) if drift.repaired] == found
    verified = verify(layout, state, lambda _: lambda _: None)
    assert [problem.drift.detail for problem in verified.problems] == found
