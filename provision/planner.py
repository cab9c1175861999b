"""From a spec to a plan on this machine: asks the stages, decides nothing itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from provision.apply.store import engine_path, model_path, why_damaged
from provision.domain.facts import Facts
from provision.domain.finding import Severity
from provision.domain.plan import Plan
from provision.domain.selection import Selection
from provision.domain.server import Observation, ServerState
from provision.domain.spec import Spec
from provision.domain.state import State
from provision.engines.registry import ENGINES, NOT_YET
from provision.host.layout import Layout
from provision.host.secret import check_key, fingerprint
from provision.knowledge.builds import load_builds
from provision.knowledge.hardware import load_hardware
from provision.knowledge.models import load_catalog
from provision.knowledge.serving import load_serving
from provision.knowledge.sizing import load_sizing
from provision.plan.desired import Paths, generation_files
from provision.plan.diff import make_plan
from provision.plan.observed import Observed
from provision.plan.room import lack_of_room
from provision.select.check import check_spec
from provision.select.choose import CannotRunError, Choice, Chooser
from provision.select.knowledge import Knowledge
from provision.select.offer import Wanted
from provision.serve.observation import Server

_HAS_THE_PORT = (ServerState.STARTING, ServerState.LOADING, ServerState.READY, ServerState.DEGRADED)


@dataclass(frozen=True)
class Planner:
    """Plans for one prefix on one machine."""

    layout: Layout
    env: Mapping[str, str]

    def plan(self, spec: Spec, state: State | None, facts: Facts, *, port: int | None = None) -> Plan:
        """Return what ``up`` would do here; ``port`` is one that a saved plan has chosen already.

        Raises ``CannotRunError`` where nothing can be installed.
        """
        check_spec(spec, self.knowledge.hardware)
        check_key(spec.api_key_env, self.env, self.layout)
        previous = state.selection if state else None
        seen = Server(self.layout, previous).observe()
        chosen = self._port(replace(spec, port=port or spec.port), previous, seen)
        choice = Chooser(spec, facts, self._wanted(spec), self.knowledge, chosen, previous).choose()
        return _plan(choice, facts, lambda selection: self.observe(state, selection, seen))

    def chooser(self, spec: Spec) -> Callable[[Facts], Choice]:
        """Return what tells for any machine what suits it, where nothing is set up yet."""
        check_spec(spec, self.knowledge.hardware)
        wanted, port = self._wanted(spec), spec.port or self.knowledge.serving.port
        return lambda facts: Chooser(spec, facts, wanted, self.knowledge, port).choose()

    def observe(self, state: State | None, selection: Selection, seen: Observation) -> Observed:
        """Return what is there of ``selection``, file by file."""
        entries = state.entries if state else {}
        engine = engine_path(self.layout, selection.release, selection.provided_libraries)
        model = model_path(self.layout, selection.model)
        own_file = selection.model.path is not None
        generation = state.generation if state else 0
        desired = self.render(selection, generation)
        current = self.layout.generation(generation)
        return Observed(
            state=state,
            engine_damage=why_damaged(self.layout, entries.get(engine.name)),
            model_damage="" if own_file else why_damaged(self.layout, entries.get(model.name)),
            server=seen.state,
            files={name: _read(current / name) for name in desired},
            desired_files=desired,
            running=seen.runtime.generation if seen.runtime else None,
            server_detail=seen.detail,
        )

    def render(self, selection: Selection, generation: int) -> dict[str, str]:
        """Return the files of one generation."""
        paths = Paths(
            engine=engine_path(self.layout, selection.release, selection.provided_libraries),
            model=model_path(self.layout, selection.model),
            generation=self.layout.generation(generation),
            api_key=self.layout.api_key,
        )
        key = fingerprint(selection.spec.api_key_env, self.env, self.layout)
        return generation_files(selection, ENGINES[selection.backend], paths, key)

    @cached_property
    def knowledge(self) -> Knowledge:
        """Everything that a choice rests on, read once."""
        return read_knowledge()

    def _wanted(self, spec: Spec) -> Wanted:
        from provision.artifacts.local_model import describe
        from provision.select.catalog import find_model

        return find_model(spec.model, self.knowledge.catalog, describe)

    def _port(self, spec: Spec, previous: Selection | None, seen: Observation) -> int:
        from provision.serve.address import choose_port

        ours = seen.state in _HAS_THE_PORT
        return choose_port(spec, previous, ours_is_up=ours, preferred=self.knowledge.serving.port)


def read_knowledge() -> Knowledge:
    """Read the data files that a choice rests on. Raises ``InvalidInputError`` for one that does not fit."""
    releases = {name: engine.releases() for name, engine in ENGINES.items()}
    return Knowledge(releases, NOT_YET, load_serving(), load_hardware(), load_builds(), load_catalog(), load_sizing())


def plan_from_nothing(choice: Choice, facts: Facts) -> Plan:
    """Return what ``up`` would do where nothing is set up yet. Raises ``CannotRunError`` for a refused choice."""
    nothing = Observed(None, "not installed", "not installed", ServerState.ABSENT)
    return _plan(choice, facts, lambda _: nothing)


def _plan(choice: Choice, facts: Facts, observe: Callable[[Selection], Observed]) -> Plan:
    if choice.selection is None:
        refusal = choice.refusal or AssertionError("a choice is made or refused")
        if isinstance(refusal, CannotRunError):
            refusal.choice = choice
        raise refusal
    plan = make_plan(choice.selection, observe(choice.selection))
    errors = tuple(finding for finding in facts.findings if finding.severity is Severity.ERROR)
    return replace(
        plan,
        recommended=choice.recommended,
        alternatives=choice.alternatives,
        findings=(*errors, *lack_of_room(plan, facts.disk)),
    )


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace")  # whatever is in it, it only has to differ
    except OSError:
        return None
