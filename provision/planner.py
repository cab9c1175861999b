"""From a spec to a plan on this machine: asks the stages, decides nothing itself."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path

from provision.artifacts.resolve import Newer
from provision.before import Before, recall
from provision.choosing import Choosing
from provision.domain.facts import Facts
from provision.domain.finding import Severity
from provision.domain.frozen import frozen
from provision.domain.lock import NO_PINS, LockedPlatform, Pins
from provision.domain.plan import Kind, Plan
from provision.domain.selection import Selection
from provision.domain.server import Observation, ServerState
from provision.domain.spec import EXTERNAL, Spec
from provision.domain.state import State
from provision.errors import UnreachableError, UsageError
from provision.host.layout import Layout
from provision.host.secret import check_key
from provision.plan.diff import make_plan
from provision.plan.observed import Observed, nothing_there
from provision.plan.room import lack_of_room
from provision.prefix import Prefix
from provision.select.choose import CannotRunError, Choice, Chooser
from provision.select.external import KnownModels
from provision.select.held import with_ours_given_back
from provision.select.knowledge import Knowledge
from provision.select.service import service_obstacles
from provision.select.sources import Tried
from provision.serve.observation import Server

_HAS_THE_PORT = (ServerState.STARTING, ServerState.LOADING, ServerState.READY, ServerState.DEGRADED)


@frozen
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
        tried: Tried | None = None,
        refresh: bool = False,
        pins: Pins = NO_PINS,
    ) -> Plan:
        """Return what ``up`` would do here.

        What is chosen is looked up where it comes from, unless that is known: sizes and hashes are part of the plan.
        Where that fails, the next best is chosen, ``tried`` being what this run has found not to work; the plan tells.
        To ``refresh`` is to choose as if nothing were served and nothing had failed before. What ``pins`` hold for
        such a machine is taken as it is; something else is chosen only where that does not run and they are not strict.

        Raises ``CannotRunError`` where nothing can be installed, ``UnavailableError`` where what was asked for by
        name cannot be had, ``StillLoadingError`` where a server of somebody else's cannot be asked for its models yet,
        ``InvalidInputError`` where strict pins have nothing for such a machine.
        """
        self.choosing.check(spec)
        _check_program(spec.install.program)
        if spec.backend == EXTERNAL:
            return self._plan_remote(spec, state)
        before = recall(spec, state, refresh=refresh, offline=self.offline)
        before = replace(before, unfit={**before.unfit, **(tried or {})})
        return self._plan_here(state, facts, spec, before, pins=pins, port=spec.port)

    def plan_saved(self, saved: Plan, state: State | None, facts: Facts) -> Plan:
        """Return what it takes now to bring about what a saved plan has chosen; nothing is looked up, or chosen anew.

        Raises ``CannotRunError`` where that does not run on a machine with these ``facts``.
        """
        chosen, spec = saved.selection, saved.selection.spec
        self.choosing.check(spec)
        if spec.backend == EXTERNAL:
            return self._plan_remote(spec, state, chosen)
        made_for, here = (chosen.release.system, chosen.release.arch), (facts.os.system, facts.os.arch)
        if made_for != here:
            raise CannotRunError(f"It was made for {' on '.join(made_for)}, and this is {here[0]} on {here[1]}.")
        pins = Pins({"": LockedPlatform(chosen.release, chosen.model)}, strict=True, holder="the plan")
        before = recall(spec, state, refresh=False, offline=True)
        plan = self._plan_here(state, facts, spec, before, pins=pins, port=chosen.port)
        selection = replace(plan.selection, locked=chosen.locked, why=chosen.why, why_not=chosen.why_not)
        return replace(
            plan,
            selection=selection,
            recommended=saved.recommended,
            alternatives=saved.alternatives,
            tried=saved.tried,
        )

    def _plan_here(
        self, state: State | None, facts: Facts, spec: Spec, before: Before, *, pins: Pins, port: int | None
    ) -> Plan:
        """Plan for a server of our own, at ``port`` where that is asked for."""
        served = before.served
        check_key(spec.api_key_env, self.env, self.layout, stored_counts=not (state and state.is_remote))
        seen = Server(self.layout, served).observe()
        facts = with_ours_given_back(facts, served) if served and seen.state in _HAS_THE_PORT else facts
        port = self._port(replace(spec, port=port), served, seen)
        chooser = Chooser(spec, facts, None, self.knowledge, port, before.known)
        choice, failed = self.choosing.here(chooser, before, pins)
        return _plan(choice, facts, lambda selection: self.prefix.observe(state, selection, seen), failed)

    def resolve(self, spec: Spec, facts: Facts, served: Selection | None, newer: Newer) -> Selection:
        """Return what is chosen for this machine where nothing is set up, and looked up.

        What is ``served`` now counts only as memory that will be free; ``newer`` are releases that are taken instead of
        older ones. Raises what ``plan`` raises, and
        ``UnreachableError`` where a place does not answer: what the next best is tells nothing of other days.
        """
        self.choosing.check(spec)
        if served and Server(self.layout, served).observe().state in _HAS_THE_PORT:
            facts = with_ours_given_back(facts, served)
        port = spec.port or self.knowledge.serving.port
        choice = self.choosing.anew(Chooser(spec, facts, None, self.knowledge, port), newer)
        if choice.selection is None:
            raise _refusal(choice)
        return choice.selection

    def _plan_remote(self, spec: Spec, state: State | None, saved: Selection | None = None) -> Plan:
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
        lacking = {Kind.MODEL: how} if remote.lacks_model else {}
        plan = make_plan(remote.selection, replace(observed, lacking=lacking))
        return replace(plan, tried=state.tried if state else {})

    @property
    def prefix(self) -> Prefix:
        """What is there."""
        return Prefix(self.layout, self.env)

    @cached_property
    def choosing(self) -> Choosing:
        """What chooses, and looks up what is chosen."""
        return Choosing(self.env, self.offline, self.looks_up, self.own_models)

    @property
    def knowledge(self) -> Knowledge:
        """Everything that a choice rests on."""
        return self.choosing.knowledge

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


def plan_from_nothing(choice: Choice, facts: Facts) -> Plan:
    """Return what ``up`` would do where nothing is set up yet. Raises ``CannotRunError`` for a refused choice."""
    return _plan(choice, facts, lambda _: nothing_there())


def _plan(choice: Choice, facts: Facts, observe: Callable[[Selection], Observed], tried: Tried | None = None) -> Plan:
    if choice.selection is None:
        raise _refusal(choice)
    plan = make_plan(choice.selection, observe(choice.selection))
    errors = tuple(finding for finding in facts.findings if finding.severity is Severity.ERROR)
    unkept = service_obstacles(plan.selection.spec, facts) if plan.changed else ()
    return replace(
        plan,
        recommended=choice.recommended,
        alternatives=choice.alternatives,
        findings=(*errors, *lack_of_room(plan, facts.disk), *unkept),
        tried=dict(tried or {}),
    )


def _refusal(choice: Choice) -> Exception:
    """Return why nothing was chosen, with what was weighed."""
    refusal = choice.refusal or AssertionError("a choice is made or refused")
    if isinstance(refusal, CannotRunError):
        refusal.choice = choice
    return refusal
