"""From a spec to a plan on this machine: asks the stages, decides nothing itself."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path

from provision.artifacts.resolve import Resolver
from provision.domain.facts import Facts
from provision.domain.finding import Severity
from provision.domain.lock import LOCK_FILE, NO_PINS, LockedPlatform, Pins
from provision.domain.model import Model
from provision.domain.plan import Plan
from provision.domain.selection import Selection
from provision.domain.server import Observation, ServerState
from provision.domain.spec import AUTO, Spec
from provision.domain.state import State
from provision.engines.registry import ENGINES
from provision.errors import UnavailableError, UnreachableError, UsageError
from provision.host.layout import Layout
from provision.host.secret import check_key
from provision.knowledge.builds import load_builds
from provision.knowledge.engine_files import load_engine_file
from provision.knowledge.hardware import load_hardware
from provision.knowledge.models import load_catalog
from provision.knowledge.serving import load_serving
from provision.knowledge.sizing import load_sizing
from provision.plan.diff import make_plan
from provision.plan.observed import Observed
from provision.plan.room import lack_of_room
from provision.prefix import Prefix
from provision.select.check import check_spec
from provision.select.choose import CannotRunError, Choice, Chooser
from provision.select.external import BACKEND as EXTERNAL_BACKEND
from provision.select.external import KnownModels
from provision.select.held import with_ours_given_back
from provision.select.knowledge import Knowledge
from provision.select.offer import Wanted
from provision.select.sources import Tried
from provision.serve.observation import Server

_HAS_THE_PORT = (ServerState.STARTING, ServerState.LOADING, ServerState.READY, ServerState.DEGRADED)


@dataclass(frozen=True)
class Planner:
    """Plans for one prefix on one machine.

    What is chosen is looked up where it comes from, so that it is known to be there; ``offline`` forbids that, and
    what is not known already counts as not to be had. Without ``looks_up`` nothing is looked up and all is believed.
    ``own_models`` is the user's file of models.
    """

    layout: Layout
    env: Mapping[str, str]
    offline: bool = False
    looks_up: bool = True
    own_models: Path | None = None

    def plan(
        self,
        spec: Spec,
        state: State | None,
        facts: Facts,
        *,
        saved: Selection | None = None,
        tried: Tried | None = None,
        refresh: bool = False,
        pins: Pins = NO_PINS,
    ) -> Plan:
        """Return what ``up`` would do here; ``saved`` is what a saved plan has chosen, and looked up, already.

        What is chosen is looked up where it comes from, unless that is known: sizes and hashes are part of the plan.
        Where that fails, the next best is chosen, ``tried`` being what has failed so far; the plan tells. To
        ``refresh`` is to choose as if nothing were served and nothing had failed before. What ``pins`` hold for such
        a machine is taken as it is; something else is chosen only where that does not run and they are not strict.

        Raises ``CannotRunError`` where nothing can be installed, ``UnavailableError`` where what was asked for by
        name cannot be had, ``InvalidInputError`` where strict pins have nothing for such a machine.
        """
        check_spec(spec, self.knowledge.hardware)
        _check_program(spec.install.program)
        if spec.backend == EXTERNAL_BACKEND:
            return self._plan_remote(spec, state, saved)
        previous = state.selection if state else None
        others = previous is not None and previous.is_remote
        check_key(spec.api_key_env, self.env, self.layout, stored_counts=not others)
        previous = None if others else previous  # nothing of it is ours to keep
        seen = Server(self.layout, previous).observe()
        port = self._port(replace(spec, port=saved.port) if saved else spec, previous, seen)
        facts = with_ours_given_back(facts, previous) if previous and seen.state in _HAS_THE_PORT else facts
        kept = None if refresh else previous
        failed: Tried = {**({} if refresh or state is None else state.tried), **(tried or {})}
        chooser = Chooser(spec, facts, None, self.knowledge, port, kept)
        locked = pins.of(facts.os.system, facts.os.arch) or _locked_before(spec, saved or kept)
        pinned = self._choose_locked(chooser, locked, (tried or {}) if pins.strict else failed) if locked else None
        if pinned is not None and (pinned.selection is not None or pins.strict):
            return _plan(pinned, facts, lambda selection: self.prefix.observe(state, selection, seen), failed)
        if pinned is not None and pinned.refusal is not None:
            failed = {**failed, LOCK_FILE: pinned.refusal.message}
        stored = state.known_models if state and (self.offline or not refresh) else {}
        resolver = self._resolver(spec, *(each for each in (saved, kept) if each is not None), stored=stored)
        choice, failed = self._choose(replace(chooser, wanted=self._wanted(spec, resolver)), resolver, failed)
        return _plan(choice, facts, lambda selection: self.prefix.observe(state, selection, seen), failed)

    def resolve(self, spec: Spec, facts: Facts, served: Selection | None) -> tuple[Selection, Tried]:
        """Return what is chosen for this machine where nothing is set up, looked up, and what has failed on the way.

        What is ``served`` now counts only as memory that will be free. Raises what ``plan`` raises.
        """
        check_spec(spec, self.knowledge.hardware)
        if served and Server(self.layout, served).observe().state in _HAS_THE_PORT:
            facts = with_ours_given_back(facts, served)
        resolver = self._resolver(spec)
        port = spec.port or self.knowledge.serving.port
        chooser = Chooser(spec, facts, self._wanted(spec, resolver), self.knowledge, port)
        choice, failed = self._choose(chooser, resolver, {})
        if choice.selection is None:
            raise _refusal(choice)
        return choice.selection, failed

    def _resolver(self, spec: Spec, *known: Selection, stored: Mapping[str, Model] | None = None) -> Resolver:
        return Resolver(self.env, spec.install.mirrors, self.offline, known, stored or {})

    def _choose_locked(self, chooser: Chooser, locked: tuple[LockedPlatform, ...], tried: Tried) -> Choice:
        """Choose among what a lock holds; only what an incomplete one lacks is looked up."""
        wanted = None if chooser.spec.model == AUTO else locked[0].model
        choice = replace(chooser, wanted=wanted, tried=tried, locked=locked).choose()
        if choice.selection is None or not self.looks_up:
            return choice
        return replace(choice, selection=self._resolver(chooser.spec).selection(choice.selection))

    def _plan_remote(self, spec: Spec, state: State | None, saved: Selection | None) -> Plan:
        """Return what makes a server that somebody else runs the one that is served."""
        from provision.observe.remote import look

        known = KnownModels(self.knowledge.catalog, partial(self.prefix.model_file_of, state))
        remote = look(spec, self.layout, self.env, state.selection if state else None, known)
        ours = remote.selection.model.path is not None
        if remote.lacks_model and not ours and self.offline:
            raise UnreachableError(
                f"{remote.selection.base_url} has no model {remote.selection.model.name}, and --offline was given.",
                "Run once without --offline.",
            )
        remote = remote.as_saved(saved) if saved else remote
        observed = self.prefix.observe(state, remote.selection, self.prefix.server_for(state, remote.selection))
        how = "it is handed to that Ollama" if ours else "that Ollama fetches it"
        plan = make_plan(remote.selection, replace(observed, model_damage=how if remote.lacks_model else ""))
        return replace(plan, tried=state.tried if state else {})

    def _choose(self, chooser: Chooser, resolver: Resolver, tried: Tried) -> tuple[Choice, Tried]:
        """Choose until what is chosen can be had; return the choice, and what has failed until then."""
        last = None
        while True:
            choice = replace(chooser, tried=tried).choose()
            if choice.selection is None and last is not None:
                raise last
            if choice.selection is None or not self.looks_up:
                return choice, tried
            try:
                return replace(choice, selection=resolver.selection(choice.selection)), tried
            except UnavailableError as error:
                if error.what in tried:
                    raise
                last, tried = error, {**tried, error.what: error.message}

    def chooser(self, spec: Spec) -> Callable[[Facts], Choice]:
        """Return what tells for any machine what suits it, where nothing is set up yet."""
        check_spec(spec, self.knowledge.hardware)
        if spec.backend == EXTERNAL_BACKEND:
            raise UsageError(
                "What a server of somebody else's is, only asking it tells: that is no question of the machine.",
                "Leave --facts and --replay away, or --backend external.",
            )
        wanted = self._wanted(spec, self._resolver(spec))
        port = spec.port or self.knowledge.serving.port
        return lambda facts: Chooser(spec, facts, wanted, self.knowledge, port).choose()

    @property
    def prefix(self) -> Prefix:
        """What is there."""
        return Prefix(self.layout, self.env)

    @cached_property
    def knowledge(self) -> Knowledge:
        """Everything that a choice rests on, read once."""
        return read_knowledge(self.own_models)

    def _wanted(self, spec: Spec, resolver: Resolver) -> Wanted:
        from provision.select.catalog import find_model

        catalog = self.knowledge.catalog
        stored = resolver.models.get(spec.model)
        if stored is not None and all(row.name != spec.model for row in catalog.models):
            return stored  # by a name of the user's own, whose file is not here
        return find_model(spec.model, catalog, resolver.describe)

    def _port(self, spec: Spec, previous: Selection | None, seen: Observation) -> int:
        from provision.serve.address import choose_port

        ours = seen.state in _HAS_THE_PORT
        return choose_port(spec, previous, ours_is_up=ours, preferred=self.knowledge.serving.port)


def _check_program(path: str | None) -> None:
    """Raise ``UsageError`` where the program that is named cannot be run."""
    if path is None or (Path(path).is_file() and os.access(path, os.X_OK)):
        return
    why = "is not executable" if Path(path).is_file() else "is not a file" if Path(path).exists() else "does not exist"
    raise UsageError(f"--program: {path} {why}.", "Name an engine's program, or leave --program out.")


def read_knowledge(own_models: Path | None = None) -> Knowledge:
    """Read the data files that a choice rests on. Raises ``InvalidInputError`` for one that does not fit."""
    engines = {name: load_engine_file(name) for name, engine in ENGINES.items() if engine.releases()}
    return Knowledge(engines, load_serving(), load_hardware(), load_builds(), load_catalog(own_models), load_sizing())


def plan_from_nothing(choice: Choice, facts: Facts) -> Plan:
    """Return what ``up`` would do where nothing is set up yet. Raises ``CannotRunError`` for a refused choice."""
    nothing = Observed(None, "not installed", "not installed", ServerState.ABSENT)
    return _plan(choice, facts, lambda _: nothing)


def _plan(choice: Choice, facts: Facts, observe: Callable[[Selection], Observed], tried: Tried | None = None) -> Plan:
    if choice.selection is None:
        raise _refusal(choice)
    plan = make_plan(choice.selection, observe(choice.selection))
    errors = tuple(finding for finding in facts.findings if finding.severity is Severity.ERROR)
    return replace(
        plan,
        recommended=choice.recommended,
        alternatives=choice.alternatives,
        findings=(*errors, *lack_of_room(plan, facts.disk)),
        tried=dict(tried or {}),
    )


def _refusal(choice: Choice) -> Exception:
    """Return why nothing was chosen, with what was weighed."""
    refusal = choice.refusal or AssertionError("a choice is made or refused")
    if isinstance(refusal, CannotRunError):
        refusal.choice = choice
    return refusal


def _locked_before(spec: Spec, previous: Selection | None) -> tuple[LockedPlatform, ...]:
    """Return what a lock told when the same was wished for: it stays, wherever that lock is now."""
    if previous is None or not previous.locked or previous.spec != spec:
        return ()
    return (LockedPlatform(previous.release, previous.model),)
