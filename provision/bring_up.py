"""Carrying out one plan, waiting for the server that it is about, and proving that it serves."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from provision.app import Fabric
from provision.apply.state import write_state
from provision.domain.frozen import frozen
from provision.domain.lock import NO_PINS, Pins
from provision.domain.plan import Change, Kind, Plan
from provision.domain.selection import Selection
from provision.domain.server import Observation
from provision.domain.state import State
from provision.errors import RefusedError, UnreachableError
from provision.keeping import Keeping
from provision.serve.environment import child_environment
from provision.serve.observation import Server
from provision.serve.proof import Proof
from provision.serve.readiness import CannotGenerateError, wait_until_ready
from provision.serve.waiting import WaitLimits

if TYPE_CHECKING:
    from provision.apply.executor import Job
    from provision.apply.install import Installer
    from provision.domain.measure import SmokeReport

AUTO_ROLLBACK = "auto-rollback"
_PIN_AGAIN = "Where upstream has changed it for good, `fabric lock` pins what is there now."


@frozen
class UpOptions:
    """How ``up`` goes about it.

    ``timeout_s`` bounds the wait for the server; ``refresh`` chooses anew; ``pins`` are what a lock holds. With
    ``rollback`` what served before serves again where the new server does not.
    """

    smoke: bool = True
    offline: bool = False
    timeout_s: float | None = None
    refresh: bool = False
    pins: Pins = NO_PINS
    rollback: bool = True


@frozen
class UpResult:
    """What was done. ``smoke`` is ``None`` where it was not wanted."""

    selection: Selection
    changes: tuple[Change, ...]
    changed: bool
    pid: int | None
    smoke: SmokeReport | None
    timings_s: dict[str, float]

    @property
    def ok(self) -> bool:
        """Whether the server passed the smoke test, or none was wanted."""
        return self.smoke is None or self.smoke.ok


@frozen
class BringUp:
    """What ``fabric VERB`` does with one prefix while its lock is held.

    ``restores`` is the number of the generation that is brought back, if one is, and ``automatic`` says that nobody
    asked for that.
    """

    fabric: Fabric
    verb: str = "up"
    restores: int | None = None
    automatic: bool = False

    def carry_out(self, plan: Plan, state: State, options: UpOptions, began: float) -> UpResult:
        """Carry out ``plan``; return when its server serves. ``began`` are the clock's seconds at the beginning.

        Raises ``ServerFailedError`` where the server does not become ready; a failed smoke test is in the result.
        """
        selection, clock = plan.selection, self.fabric.clock
        timings = {"detect": clock() - began, "install": 0.0, "pull": 0.0, "smoke": 0.0}
        if plan.changed:
            self._beware(plan)
            job = self.job(plan, state, offline=options.offline, pins=options.pins)
            with _repinning(plan, options):
                job.run(self.verb)
            timings |= job.timings_s
            selection, state = job.plan.selection, job.state
        else:
            state = self._remember(plan, state)
        starting = clock()
        proof = Proof(self.fabric.layout)
        seen = self.wait(selection, options.timeout_s, proof)
        timings["start"] = clock() - starting
        smoke = None
        if options.smoke:
            proving = clock()
            smoke = proof.smoke(seen) or proof.passed(seen, self.fabric.smoke())
            timings["smoke"] = clock() - proving
        timings["total"] = clock() - began
        done = UpResult(selection, plan.changes, plan.changed, seen.pid, smoke, timings)
        if done.ok and state.current and not state.current.was_ready:
            write_state(self.fabric.layout, state.noting(state.current.number, was_ready=True))
        return done

    def _beware(self, plan: Plan) -> None:
        """Say aloud what of the choice nobody shall be surprised by."""
        from provision.knowledge.advisories import why_refused

        selection = plan.selection
        if plan.unused_gpus:
            self.fabric.progress.say(f"{plan.unused_gpus}. Serving on {selection.acceleration}")
        if refused := why_refused(selection.program, selection.release.version):
            self.fabric.progress.say(f"Beware: {selection.engine_name} {refused}")

    def _remember(self, plan: Plan, state: State) -> State:
        """Keep another wish that comes to the same, such as another reference to the same file, for the next time."""
        from provision.apply.store import known_by

        old, new = state.selection, plan.selection
        if old is None or (old.spec, old.model) == (new.spec, new.model):
            return state
        entries = known_by(self.fabric.layout, state.entries, new.model_wish, new.model)
        noted = state.noting(state.generation, selection=new)
        return write_state(self.fabric.layout, replace(noted, selection=new, tried=plan.tried, entries=entries))

    @property
    def keeping(self) -> Keeping:
        """Who keeps the server running."""
        return Keeping(self.fabric.layout, self.fabric.env, self.fabric.progress)

    def job(self, plan: Plan, state: State, *, offline: bool, pins: Pins = NO_PINS) -> Job:
        """Return the work that ``plan`` is; ``pins`` are what a lock holds."""
        from provision.apply.bundle import unpacked
        from provision.apply.executor import Job

        selection = plan.selection
        installer = replace(self.installer(selection), offline=offline, addresses=pins.urls(selection.release))
        if plan.pending(Kind.ENGINE):
            installer.check_interpreter()
        bundle = unpacked(pins.bundle, self.fabric.layout, plan, self.fabric.progress)
        installer = replace(installer, bundle=bundle)
        return Job(
            layout=self.fabric.layout,
            plan=plan,
            state=state,
            installer=installer,
            render=self.fabric.planner.prefix.render,
            keep=self.keeping.change,
            restart=self._restart,
            clock=self.fabric.clock,
            made_by=AUTO_ROLLBACK if self.automatic else self.verb,
            restores=self.restores,
        )

    def installer(self, selection: Selection) -> Installer:
        """Return what installs a selection in this prefix."""
        from provision.apply.install import Installer
        from provision.engines.registry import ENGINES

        fabric = self.fabric
        return Installer(
            fabric.layout,
            selection,
            ENGINES[selection.backend],
            fabric.env,
            fabric.progress,
            threading.Event(),
            engine_env=child_environment(fabric.layout, fabric.env),
        )

    def wait(self, selection: Selection, timeout_s: float | None, proof: Proof) -> Observation:
        """Return when the server is ready. Raises ``ServerFailedError`` where it does not get there."""
        server = Server(self.fabric.layout, selection)
        try:
            seen = wait_until_ready(server, selection.model.name, WaitLimits(timeout_s), proof.holds)
        except CannotGenerateError as error:
            proof.failed(server.observe(), error.reason)
            raise
        self._check_sockets(selection)
        proof.ready(seen)
        return seen

    def _check_sockets(self, selection: Selection) -> None:
        """Stop a server that can be reached where nobody declared it."""
        from provision.serve.audit import ExposedError, check_sockets

        try:
            check_sockets(self.fabric.layout, selection)
        except ExposedError as error:
            self.keeping.stop()
            error.message += " It was stopped."
            raise

    def _restart(self, selection: Selection, generation: int) -> None:
        from provision.engines.registry import ENGINES
        from provision.host.secret import store_key

        layout, keeping = self.fabric.layout, self.keeping
        if selection.is_remote:
            self.fabric.progress.say(f"Stopping our own server: {selection.base_url} takes its place")
            keeping.stop()
            return
        self.fabric.progress.say(f"Starting the server at {selection.base_url}")
        keeping.stop()
        place = self.fabric.planner.prefix.paths(selection, generation).placement(selection)
        ENGINES[selection.backend].arrange(selection, place)
        store_key(selection.spec.api_key_env, self.fabric.env, layout)
        keeping.start(generation)


@contextmanager
def _repinning(plan: Plan, options: UpOptions) -> Iterator[None]:
    """Say of what a lock pins and cannot be had any more how it is pinned anew."""
    try:
        yield
    except (RefusedError, UnreachableError) as error:
        if plan.selection.locked and options.pins.bundle is None:
            error.hint = " ".join(filter(None, (error.hint, _PIN_AGAIN)))
        raise
