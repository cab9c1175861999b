"""What changes a machine: each under the lock, journalled, and safe to repeat."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from provision.app import Fabric
from provision.apply.generations import chosen_generation
from provision.apply.prefix_check import check_prefix
from provision.apply.saved_plan import PLAN_AGAIN
from provision.apply.state import read_state
from provision.apply.whereabouts import at_home
from provision.bring_up import BringUp, UpOptions, UpResult
from provision.changing import changing, locked
from provision.domain.frozen import frozen
from provision.domain.plan import Kind, Plan
from provision.domain.selection import Selection
from provision.domain.spec import Spec
from provision.domain.state import State
from provision.errors import FabricError, InvalidInputError, UnreachableError, UsageError
from provision.fallback import Fallback
from provision.generations import check_set_up, plan_rollback
from provision.host.reading import read_private
from provision.plan.diff import digest
from provision.select.choose import CannotRunError
from provision.select.service import ABSENT, SILENT
from provision.serve.waiting import PortLostError

if TYPE_CHECKING:
    from provision.apply.destroy import Removal
    from provision.domain.measure import SmokeReport

_UNKEPT = {ABSENT: UsageError, SILENT: UnreachableError}


class SmokeFailedError(FabricError):
    """A server became ready, and does not answer as clients need it."""

    code = "smoke-failed"

    def __init__(self, selection: Selection, report: SmokeReport) -> None:
        failed = "; ".join(check.detail for check in report.checks if not check.ok)
        super().__init__(f"{selection.model.name} was ready and failed the smoke test: {failed}.")


@frozen
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
            self._tell_undone(plan, state)
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

    def _tell_undone(self, plan: Plan, state: State) -> None:
        """Say aloud that a rollback does not last, because something else is asked for now."""
        undone = state.undone_by(plan.selection)
        if undone is not None and plan.pending(Kind.CONFIG):
            self.fabric.progress.say(
                f"`fabric rollback` had brought back generation {undone}; what is asked for now is something else, and "
                "takes its place"
            )

    def rollback(self, number: int | None, options: UpOptions) -> UpResult:
        """Make a new generation that is equal to the one with this number, or to the last other one that served.

        Raises ``UsageError`` where there is none, ``UnreachableError`` where ``options`` forbid to fetch what is not
        in the store any more.
        """
        check_set_up(self.fabric)
        with changing(self.fabric, "rollback") as state, self._run("rollback") as run:
            target = chosen_generation(state, number)
            plan = plan_rollback(self.fabric, state, target, offline=options.offline)
            return self._carry_out(plan, state, options, run, restores=target.number)

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
            if not plan.digest == saved.digest == digest(saved):  # one that was edited shows what is not done
                raise InvalidInputError(
                    "This plan does not fit any more: the machine or the data files have changed.", PLAN_AGAIN
                )
            return self._carry_out(plan, state, options, run)

    def down(self) -> bool:
        """Stop the server; ``False`` where none ran. Keeps what is installed."""
        if read_private(self.fabric.layout.marker) is None:
            return False
        with changing(self.fabric, "down"):
            return BringUp(self.fabric).keeping.stop()

    def destroy(self, *, keep_models: bool) -> Removal:
        """Stop the server and remove everything that fabric made; return what was removed."""
        from provision.apply.destroy import Removal, remove_prefix
        from provision.apply.parents import remove_noted
        from provision.apply.trash import settle

        check_prefix(self.fabric.layout)
        if not self.fabric.layout.prefix.is_dir() or not any(self.fabric.layout.prefix.iterdir()):
            remove_noted(self.fabric.layout)
            return Removal()  # an empty directory is not ours, unless a `destroy` that was killed has left it
        with locked(self.fabric, "destroy"):
            try:
                state = self.fabric.state()
            except InvalidInputError:  # what it owned elsewhere is not known any more; the prefix is ours all the same
                state = None
            state = at_home(self.fabric.layout, state, take_over=self.fabric.take_over)
            if state is not None:
                settle(self.fabric.layout)
            units = BringUp(self.fabric).keeping.take_away(state)
            removal = remove_prefix(self.fabric.layout, state, keep_models=keep_models)
            return replace(removal, removed=(*units, *removal.removed))

    @contextmanager
    def _run(self, verb: str) -> Iterator[_Run]:
        """Begin a run; where what it configures does not serve, what served before does so again."""
        fallback = Fallback(self.fabric, verb)
        with fallback.guarding():
            yield _Run(verb, self.fabric.clock(), fallback)

    def _carry_out(
        self, plan: Plan, state: State, options: UpOptions, run: _Run, restores: int | None = None
    ) -> UpResult:
        """Carry out a plan. Raises ``SmokeFailedError`` where it takes the place of something that served, and fails.

        Where nothing served before, what fails the smoke test stays.
        """
        _refuse_unkept(plan)
        if plan.changed and options.rollback:
            run.fallback.remember(state)
        done = BringUp(self.fabric, run.verb, restores).carry_out(plan, state, options, run.began)
        if done.smoke is not None and not done.ok and run.fallback.is_open:
            raise SmokeFailedError(done.selection, done.smoke)
        return done


def _refuse_unkept(plan: Plan) -> None:
    """Raise where this machine has nobody who could keep the server running as it is wished."""
    for finding in plan.findings:
        if finding.code in _UNKEPT:
            raise _UNKEPT[finding.code](f"{finding.evidence}.", finding.fix)
