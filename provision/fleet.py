"""What suits each of many machines, by their facts files and captures."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from provision.domain.frozen import frozen
from provision.errors import FabricError

if TYPE_CHECKING:
    from provision.domain.choice import Recommendation
    from provision.domain.facts import Facts
    from provision.domain.plan import Plan
    from provision.select.choose import Choice


@frozen
class PlannedMachine:
    """One of many machines: what suits it, and what would be done there, or why nothing would."""

    name: str
    facts: Facts | None = None
    recommended: Recommendation | None = None
    plan: Plan | None = None
    error: FabricError | None = None


def plan_each(choose: Callable[[Facts], Choice], paths: Iterable[Path]) -> Iterator[PlannedMachine]:
    """Yield what would be done on each machine, where nothing is set up yet. ``choose`` is what it is chosen by."""
    from provision.facts.stored import read_machines
    from provision.planner import plan_from_nothing

    for name, facts, error in read_machines(paths):
        if facts is None:
            yield PlannedMachine(name, error=error)
            continue
        choice = choose(facts)
        plan = plan_from_nothing(choice, facts) if choice.selection else None
        yield PlannedMachine(name, facts, choice.recommended, plan, choice.refusal)
