"""From a spec to a plan on this machine: asks the stages, decides nothing itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from provision import assets
from provision.apply.store import engine_path, model_path, why_damaged
from provision.domain.facts import Facts
from provision.domain.plan import Plan
from provision.domain.selection import Selection
from provision.domain.server import Observation, ServerState
from provision.domain.spec import Spec
from provision.domain.state import State
from provision.engines.registry import ENGINES, NOT_YET
from provision.host.layout import Layout
from provision.host.machine import Machine
from provision.host.secret import check_key, fingerprint
from provision.plan.desired import Paths, generation_files
from provision.plan.diff import make_plan
from provision.plan.observed import Observed
from provision.select.choose import Knowledge, check_spec, choose
from provision.serve.observation import Server

_HAS_THE_PORT = (ServerState.STARTING, ServerState.LOADING, ServerState.READY, ServerState.DEGRADED)


@dataclass(frozen=True)
class Planner:
    """Plans for one prefix on one machine."""

    layout: Layout
    env: Mapping[str, str]
    machine: Machine

    def facts(self) -> Facts:
        """Return the facts of this machine."""
        from provision.facts.detect import detect

        return detect(self.machine, str(self.layout.prefix))

    def plan(self, spec: Spec, state: State | None, *, port: int | None = None) -> Plan:
        """Return what ``up`` would do here; ``port`` is one that a saved plan has chosen already."""
        check_spec(spec)
        check_key(spec.api_key_env, self.env, self.layout)
        previous = state.selection if state else None
        seen = Server(self.layout, previous).observe()
        chosen = self._port(replace(spec, port=port or spec.port), previous, seen)
        selection = self._select(spec, self.facts(), chosen, previous)
        return make_plan(selection, self.observe(state, selection, seen))

    def plan_elsewhere(self, spec: Spec, facts: Facts) -> Plan:
        """Return what ``up`` would do on a machine with these facts, where nothing is set up yet."""
        check_spec(spec)
        selection = self._select(spec, facts, spec.port or assets.profile("serving")["port"], None)
        nothing = Observed(None, "not installed", "not installed", ServerState.ABSENT)
        return make_plan(selection, nothing)

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

    def _select(self, spec: Spec, facts: Facts, port: int, previous: Selection | None) -> Selection:
        from provision.artifacts.local_model import describe
        from provision.select.catalog import find_model

        releases = {name: engine.releases() for name, engine in ENGINES.items()}
        knowledge = Knowledge(releases, NOT_YET, assets.profile("serving"))
        return choose(spec, facts, find_model(spec.model, describe), knowledge, port=port, previous=previous)

    def _port(self, spec: Spec, previous: Selection | None, seen: Observation) -> int:
        from provision.serve.address import choose_port

        ours = seen.state in _HAS_THE_PORT
        return choose_port(spec, previous, ours_is_up=ours, preferred=assets.profile("serving")["port"])


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace")  # whatever is in it, it only has to differ
    except OSError:
        return None
