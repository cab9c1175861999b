"""What changes a machine: each under the lock, journalled, and safe to repeat."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from provision.app import Fabric
from provision.apply.saved_plan import PLAN_AGAIN
from provision.apply.state import check_host, check_prefix, read_state, write_state
from provision.bring_up import BringUp
from provision.changing import changing, locked
from provision.domain.lock import NO_PINS, Pins
from provision.domain.plan import Change, Plan
from provision.domain.selection import Selection
from provision.domain.spec import Spec
from provision.domain.state import State
from provision.errors import FabricError, InvalidInputError, RefusedError, UnreachableError, UsageError
from provision.fallback import Fallback
from provision.select.choose import CannotRunError
from provision.select.service import ABSENT, SILENT
from provision.serve.waiting import PortLostError

if TYPE_CHECKING:
    from provision.apply.destroy import Removal
    from provision.domain.measure import SmokeReport

_PIN_AGAIN = "Where upstream has changed it for good, `fabric lock` pins what is there now."
_UNKEPT = {ABSENT: UsageError, SILENT: UnreachableError}


@dataclass(frozen=True)
class UpOptions:
    """How ``up`` goes about it.

    ``timeout_s`` bounds the wait for the server; ``refresh`` chooses anew; ``pins`` are what a lock holds.
    """

    smoke: bool = True
    offline: bool = False
    timeout_s: float | None = None
    refresh: bool = False
    pins: Pins = NO_PINS


@dataclass(frozen=True)
class UpResult:
    """What ``up`` did. ``smoke`` is ``None`` where it was not wanted."""

    selection: Selection
    changes: tuple[Change, ...]
    changed: bool
    pid: int | None
    smoke: SmokeReport | None
    timings_s: dict[str, float]


@dataclass(frozen=True)
class _Run:
    """One run of a verb that brings a server up: the clock's seconds when it began, and the way back."""

    verb: str
    began: float
    fallback: Fallback


@dataclass
class Changes:
    """Everything that changes the prefix of ``fabric``."""

    fabric: Fabric

    def up(self, spec: Spec, options: UpOptions) -> UpResult:
        """Detect, plan, install, render, start, wait until ready, smoke."""
        self.fabric.planner.choosing.check(spec)
        with changing(self.fabric, "up") as state, self._run("up") as run:
            return self._up(spec, state, options, run)

    def _up(self, spec: Spec, state: State, options: UpOptions, run: _Run) -> UpResult:
        """Plan and carry out, and plan again around what turns out not to work here."""
        from provision.apply.native_build import BuildFailedError
        from provision.apply.preflight import EngineUnfitError
        from provision.apply.toolchain import NoCompilerError

        planner = replace(self.fabric.planner, offline=options.offline)
        facts, tried, moved = self.fabric.facts(), dict[str, str](), False
        unfit: FabricError | None = None
        while True:
            try:
                plan, options = self._planned(
                    partial(planner.plan, spec, state, facts, tried=tried, refresh=options.refresh, pins=options.pins),
                    options,
                )
            except CannotRunError as error:
                raise unfit or error from error
            self._tell_failures(plan, state, tried, offline=options.offline)
            try:
                return self._carry_out(plan, state, options, run)
            except (EngineUnfitError, NoCompilerError, BuildFailedError) as error:
                if options.pins.strict:
                    raise
                unfit, tried = error, {**plan.tried, plan.selection.release.name: error.message}
                self.fabric.progress.say(f"{error.message} Trying the next source")
            except PortLostError:
                if spec.port or moved:
                    raise
                moved = True
                self.fabric.progress.say("Somebody was faster and has the port now; taking another one")
            state = read_state(self.fabric.layout) or state

    def _planned(self, look: Callable[[], Plan], options: UpOptions) -> tuple[Plan, UpOptions]:
        """Return the plan, when a server of somebody else's that it is about has loaded, with the time left for it."""
        from provision.serve.loading import when_loaded

        plan, left_s = when_loaded(look, options.timeout_s, self.fabric.progress.say)
        return plan, replace(options, timeout_s=left_s)

    def _tell_failures(self, plan: Plan, state: State, told: Mapping[str, str], *, offline: bool) -> None:
        """Say aloud what could not be had, and what is done instead."""
        same = state.selection is not None and state.selection.spec == plan.selection.spec
        known = state.tried if same else state.unfit
        fresh = [reason for what, reason in plan.tried.items() if what not in known and what not in told]
        left_out = f"{len(fresh)} engines and models are not known here, and --offline was given"
        for reason in [left_out] if offline and len(fresh) > 1 else fresh:
            self.fabric.progress.say(reason)
        if fresh:
            chosen = plan.selection
            self.fabric.progress.say(
                f"Going on with {chosen.backend} {chosen.release.version} and the model {chosen.model.name}. "
                "`fabric up --refresh` tries again"
            )

    def apply(self, saved: Plan, options: UpOptions) -> UpResult:
        """Carry out exactly ``saved``. Raises ``InvalidInputError`` where the world has moved since."""
        with changing(self.fabric, "apply") as state, self._run("apply") as run:
            if saved.lineage not in ("", state.lineage) or saved.serial != state.serial:
                raise InvalidInputError("This plan does not fit any more: the state has changed.", PLAN_AGAIN)
            known = state if saved.lineage else None
            try:
                look = partial(self.fabric.planner.plan_saved, saved, known, self.fabric.facts())
                plan, options = self._planned(look, options)
            except CannotRunError as error:
                raise InvalidInputError(f"This plan does not fit this machine. {error.message}", PLAN_AGAIN) from error
            if plan.digest != saved.digest:
                raise InvalidInputError(
                    "This plan does not fit any more: the machine or the data files have changed.", PLAN_AGAIN
                )
            return self._carry_out(plan, state, options, run)

    def down(self) -> bool:
        """Stop the server; ``False`` where none ran. Keeps what is installed."""
        if not self.fabric.layout.marker.exists():
            return False
        with changing(self.fabric, "down"):
            return BringUp(self.fabric).keeping.stop()

    def destroy(self, *, keep_models: bool) -> Removal:
        """Stop the server and remove everything that fabric made; return what was removed."""
        from provision.apply.destroy import Removal, remove_prefix

        check_prefix(self.fabric.layout)
        if not self.fabric.layout.prefix.is_dir() or not any(self.fabric.layout.prefix.iterdir()):
            return Removal()  # an empty directory is not ours
        with locked(self.fabric, "destroy"):
            try:
                state = self.fabric.state()
            except InvalidInputError:  # what it owned elsewhere is not known any more; the prefix is ours all the same
                state = None
            if not self.fabric.take_over:
                check_host(state)
            units = BringUp(self.fabric).keeping.take_away(state)
            removal = remove_prefix(self.fabric.layout, state, keep_models=keep_models)
            return replace(removal, removed=(*units, *removal.removed))

    @contextmanager
    def _run(self, verb: str) -> Iterator[_Run]:
        """Begin a run; where what it configures does not serve, what served before does so again."""
        fallback = Fallback(self.fabric)
        with fallback.guarding():
            yield _Run(verb, self.fabric.clock(), fallback)

    def _carry_out(self, plan: Plan, state: State, options: UpOptions, run: _Run) -> UpResult:
        from provision.serve.proof import Proof

        _refuse_unkept(plan)
        selection, work = plan.selection, BringUp(self.fabric)
        timings = {"detect": self.fabric.clock() - run.began, "install": 0.0, "pull": 0.0, "smoke": 0.0}
        if plan.changed:
            if plan.unused_gpus:
                self.fabric.progress.say(f"{plan.unused_gpus}. Serving on {selection.acceleration}")
            run.fallback.remember(state)
            job = work.job(plan, state, offline=options.offline, pins=options.pins)
            with _repinning(plan, options):
                job.run(run.verb)
            timings |= job.timings_s
            selection = job.plan.selection
        else:
            self._remember(plan, state)
        starting = self.fabric.clock()
        proof = Proof(self.fabric.layout)
        seen = work.wait(selection, options.timeout_s, proof)
        timings["start"] = self.fabric.clock() - starting
        smoke = None
        if options.smoke:
            proving = self.fabric.clock()
            smoke = proof.smoke(seen) or proof.passed(seen, self.fabric.smoke())
            timings["smoke"] = self.fabric.clock() - proving
        timings["total"] = self.fabric.clock() - run.began
        return UpResult(selection, plan.changes, plan.changed, seen.pid, smoke, timings)

    def _remember(self, plan: Plan, state: State) -> None:
        """Keep another wish that comes to the same, such as another reference to the same file, for the next time."""
        from provision.apply.store import known_by

        old, new = state.selection, plan.selection
        if old is not None and (old.spec, old.model) != (new.spec, new.model):
            entries = known_by(self.fabric.layout, state.entries, new.model_wish, new.model)
            write_state(self.fabric.layout, replace(state, selection=new, tried=plan.tried, entries=entries))


def _refuse_unkept(plan: Plan) -> None:
    """Raise where this machine has nobody who could keep the server running as it is wished."""
    for finding in plan.findings:
        if finding.code in _UNKEPT:
            raise _UNKEPT[finding.code](f"{finding.evidence}.", finding.fix)


@contextmanager
def _repinning(plan: Plan, options: UpOptions) -> Iterator[None]:
    """Say of what a lock pins and cannot be had any more how it is pinned anew."""
    try:
        yield
    except (RefusedError, UnreachableError) as error:
        if plan.selection.locked and options.pins.bundle is None:
            error.hint = " ".join(filter(None, (error.hint, _PIN_AGAIN)))
        raise
