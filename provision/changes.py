"""What changes a machine: each under the lock, journalled, and safe to repeat."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from provision.app import Fabric
from provision.apply.state import check_prefix, open_prefix, read_state, write_state
from provision.domain.lock import NO_PINS, Pins
from provision.domain.plan import Change, Plan
from provision.domain.selection import Selection
from provision.domain.spec import Spec
from provision.domain.state import State
from provision.errors import InvalidInputError, RefusedError, UnreachableError
from provision.select.choose import CannotRunError
from provision.serve import control
from provision.serve.observation import Server
from provision.serve.readiness import Patience, PortLostError, wait_until_ready

if TYPE_CHECKING:
    from provision.apply.executor import Job
    from provision.apply.install import Installer
    from provision.domain.measure import SmokeReport

LOCK_WAIT_S = 900.0
_PIN_AGAIN = "Where upstream has changed it for good, `fabric lock` pins what is there now."
_PLAN_AGAIN = "Make a new one with `fabric plan --out FILE`."


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


@dataclass
class Changes:
    """Everything that changes the prefix of ``fabric``."""

    fabric: Fabric

    def up(self, spec: Spec, options: UpOptions) -> UpResult:
        """Detect, plan, install, render, start, wait until ready, smoke."""
        from provision.select.check import check_spec

        check_spec(spec, self.fabric.planner.knowledge.hardware)
        with self.changing("up") as state:
            return self._up(spec, state, options, self.fabric.clock())

    def _up(self, spec: Spec, state: State, options: UpOptions, began: float) -> UpResult:
        """Plan and carry out, and plan again around what turns out not to work here."""
        from provision.apply.install import EngineUnfitError

        planner = replace(self.fabric.planner, offline=options.offline)
        facts, tried, unfit, moved = self.fabric.facts(), dict[str, str](), None, False
        while True:
            try:
                plan = planner.plan(spec, state, facts, tried=tried, refresh=options.refresh, pins=options.pins)
            except CannotRunError as error:
                raise unfit or error from error
            self._tell_failures(plan, state, tried)
            try:
                return self._carry_out(plan, state, options, began, "up")
            except EngineUnfitError as error:
                if options.pins.strict:
                    raise
                unfit, tried = error, {**plan.tried, error.release: error.message}
                self.fabric.progress.say(f"{error.message} Trying the next source")
            except PortLostError:
                if spec.port or moved:
                    raise
                moved = True
                self.fabric.progress.say("Somebody was faster and has the port now; taking another one")
            state = read_state(self.fabric.layout) or state

    def _tell_failures(self, plan: Plan, state: State, told: Mapping[str, str]) -> None:
        """Say aloud what could not be had, and what is done instead."""
        fresh = [reason for what, reason in plan.tried.items() if what not in state.tried and what not in told]
        for reason in fresh:
            self.fabric.progress.say(reason)
        if fresh:
            chosen = plan.selection
            self.fabric.progress.say(
                f"Going on with {chosen.backend} {chosen.release.version} and the model {chosen.model.name}. "
                "`fabric up --refresh` tries again"
            )

    def apply(self, saved: Plan, options: UpOptions) -> UpResult:
        """Carry out exactly ``saved``. Raises ``InvalidInputError`` where the world has moved since."""
        with self.changing("apply") as state:
            began = self.fabric.clock()
            if saved.lineage not in ("", state.lineage) or saved.serial != state.serial:
                raise InvalidInputError("This plan does not fit any more: the state has changed.", _PLAN_AGAIN)
            known = state if saved.lineage else None
            plan = self.fabric.planner.plan(saved.selection.spec, known, self.fabric.facts(), saved=saved.selection)
            if plan.digest != saved.digest:
                raise InvalidInputError(
                    "This plan does not fit any more: the machine or the data files have changed.", _PLAN_AGAIN
                )
            return self._carry_out(plan, state, options, began, "apply")

    def down(self) -> bool:
        """Stop the server; ``False`` where none ran. Keeps what is installed."""
        if not self.fabric.layout.marker.exists():
            return False
        with self.changing("down"):
            return control.stop(self.fabric.layout)

    def destroy(self, *, keep_models: bool) -> list[str]:
        """Stop the server and remove everything that fabric made; return what was removed."""
        from provision.apply.destroy import remove_prefix

        check_prefix(self.fabric.layout)
        if not self.fabric.layout.prefix.is_dir() or not any(self.fabric.layout.prefix.iterdir()):
            return []  # an empty directory is not ours
        with self._locked("destroy"):
            try:
                state = self.fabric.state()
            except InvalidInputError:  # what it owned elsewhere is not known any more; the prefix is ours all the same
                state = None
            control.stop(self.fabric.layout)
            return remove_prefix(self.fabric.layout, state, keep_models=keep_models)

    def write_config(self, path: Path, text: str) -> None:
        """Write a rendered configuration where the user wants it, and remember it for ``destroy``."""
        from provision.host.files import commit, explained

        path = path.absolute()
        with self.changing("config") as state:
            if path.exists() and str(path) not in state.written_files:
                raise InvalidInputError(f"{path} exists and was not written by fabric.", "Name a new file.")
            with explained("writing the configuration"):
                commit(path, text.encode())
            write_state(
                self.fabric.layout, replace(state, written_files=tuple(sorted({*state.written_files, str(path)})))
            )

    @contextmanager
    def changing(self, doing: str) -> Iterator[State]:
        """Hold the lock, clear what a killed run left, and give the state."""
        from provision.apply.journal import recover

        check_prefix(self.fabric.layout)
        made = self.fabric.layout.missing_parents()
        with self._locked(doing):
            state = open_prefix(self.fabric.layout, made)
            interrupted = recover(self.fabric.layout)
            if interrupted:
                self.fabric.progress.say(
                    f"`fabric {interrupted.verb}` (process {interrupted.pid}) was interrupted at "
                    f"'{interrupted.step}'. Going on from what it finished."
                )
            yield state

    def _locked(self, doing: str) -> AbstractContextManager[None]:
        """Hold the lock of the prefix; whoever has to wait is told for whom."""
        from provision.host.lock import exclusive

        waiting = f"Waiting, because {{}} is at work here; `fabric {doing}` goes on when it is done"
        return exclusive(
            self.fabric.layout.lock,
            self.fabric.layout.lock_holder,
            doing,
            LOCK_WAIT_S,
            lambda who: self.fabric.progress.say(waiting.format(who)),
        )

    def _carry_out(self, plan: Plan, state: State, options: UpOptions, began: float, verb: str) -> UpResult:
        from provision.serve.proof import Proof

        selection = plan.selection
        timings = {"detect": self.fabric.clock() - began, "install": 0.0, "pull": 0.0, "smoke": 0.0}
        if plan.changed:
            if plan.unused_gpus:
                self.fabric.progress.say(f"{plan.unused_gpus}. Serving on {selection.acceleration}")
            job = self._job(plan, state, options)
            with _repinning(plan, options):
                job.run(verb)
            timings |= job.timings_s
        starting = self.fabric.clock()
        proof = Proof(self.fabric.layout)
        server = Server(self.fabric.layout, selection)
        seen = wait_until_ready(server, selection.model.name, Patience(options.timeout_s), proof.holds)
        proof.ready(seen)
        timings["start"] = self.fabric.clock() - starting
        smoke = None
        if options.smoke:
            proving = self.fabric.clock()
            smoke = proof.smoke(seen) or proof.passed(seen, self.fabric.smoke())
            timings["smoke"] = self.fabric.clock() - proving
        timings["total"] = self.fabric.clock() - began
        return UpResult(selection, plan.changes, plan.changed, seen.pid, smoke, timings)

    def _job(self, plan: Plan, state: State, options: UpOptions) -> Job:
        from provision.apply.bundle import unpacked
        from provision.apply.executor import Job

        selection = plan.selection
        installer = replace(
            self.installer(selection),
            offline=options.offline,
            bundle=unpacked(options.pins.bundle, self.fabric.layout, plan, self.fabric.progress),
            addresses=options.pins.urls(selection.release),
        )
        return Job(
            layout=self.fabric.layout,
            plan=plan,
            state=state,
            installer=installer,
            render=lambda generation: self.fabric.planner.render(selection, generation),
            restart=lambda generation: self._restart(selection, generation),
            clock=self.fabric.clock,
        )

    def installer(self, selection: Selection) -> Installer:
        """Return what installs a selection in this prefix."""
        from provision.apply.install import Installer
        from provision.engines.registry import ENGINES

        fabric, engine = self.fabric, ENGINES[selection.backend]
        return Installer(fabric.layout, selection, engine, fabric.env, fabric.progress, threading.Event())

    def _restart(self, selection: Selection, generation: int) -> None:
        from provision.engines.registry import ENGINES
        from provision.host.secret import store_key

        self.fabric.progress.say(f"Starting the server at {selection.base_url}")
        control.stop(self.fabric.layout)
        place = self.fabric.planner.paths(selection, generation).placement(selection)
        ENGINES[selection.backend].arrange(selection, place)
        store_key(selection.spec.api_key_env, self.fabric.env, self.fabric.layout)
        control.start(self.fabric.layout, generation, self.fabric.env)


@contextmanager
def _repinning(plan: Plan, options: UpOptions) -> Iterator[None]:
    """Say of what a lock pins and cannot be had any more how it is pinned anew."""
    try:
        yield
    except (RefusedError, UnreachableError) as error:
        if plan.selection.locked and options.pins.bundle is None:
            error.hint = " ".join(filter(None, (error.hint, _PIN_AGAIN)))
        raise
