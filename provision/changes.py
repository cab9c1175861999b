"""What changes a machine: each under the lock, journalled, and safe to repeat."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from provision.app import Fabric
from provision.apply.state import check_prefix, read_state, write_state
from provision.changing import changing, locked
from provision.domain.plan import Change, Plan
from provision.domain.selection import Selection
from provision.domain.spec import Spec
from provision.domain.state import State
from provision.errors import FabricError, InvalidInputError
from provision.select.choose import CannotRunError
from provision.serve import control
from provision.serve.observation import Server
from provision.serve.readiness import CannotGenerateError, Patience, PortLostError, wait_until_ready

if TYPE_CHECKING:
    from provision.apply.executor import Job
    from provision.domain.measure import SmokeReport

_PLAN_AGAIN = "Make a new one with `fabric plan --out FILE`."


@dataclass(frozen=True)
class UpOptions:
    """How ``up`` goes about it. ``timeout_s`` bounds the wait for the server; ``refresh`` chooses anew."""

    smoke: bool = True
    offline: bool = False
    timeout_s: float | None = None
    refresh: bool = False


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
        with changing(self.fabric, "up") as state:
            return self._up(spec, state, options, self.fabric.clock())

    def _up(self, spec: Spec, state: State, options: UpOptions, began: float) -> UpResult:
        """Plan and carry out, and plan again around what turns out not to work here."""
        from provision.apply.native_build import BuildFailedError
        from provision.apply.preflight import EngineUnfitError
        from provision.apply.toolchain import NoCompilerError

        planner = replace(self.fabric.planner, offline=options.offline)
        facts, tried, moved = self.fabric.facts(), dict[str, str](), False
        unfit: FabricError | None = None
        while True:
            try:
                plan = planner.plan(spec, state, facts, tried=tried, refresh=options.refresh)
            except CannotRunError as error:
                raise unfit or error from error
            self._tell_failures(plan, state, tried)
            try:
                return self._carry_out(plan, state, options, began, "up")
            except (EngineUnfitError, NoCompilerError, BuildFailedError) as error:
                unfit, tried = error, {**plan.tried, plan.selection.release.name: error.message}
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
        with changing(self.fabric, "apply") as state:
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
        with changing(self.fabric, "down"):
            return control.stop(self.fabric.layout)

    def destroy(self, *, keep_models: bool) -> list[str]:
        """Stop the server and remove everything that fabric made; return what was removed."""
        from provision.apply.destroy import remove_prefix

        check_prefix(self.fabric.layout)
        if not self.fabric.layout.prefix.is_dir() or not any(self.fabric.layout.prefix.iterdir()):
            return []  # an empty directory is not ours
        with locked(self.fabric, "destroy"):
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
        with changing(self.fabric, "config") as state:
            if path.exists() and str(path) not in state.written_files:
                raise InvalidInputError(f"{path} exists and was not written by fabric.", "Name a new file.")
            with explained("writing the configuration"):
                commit(path, text.encode())
            write_state(
                self.fabric.layout, replace(state, written_files=tuple(sorted({*state.written_files, str(path)})))
            )

    def _carry_out(self, plan: Plan, state: State, options: UpOptions, began: float, verb: str) -> UpResult:
        from provision.serve.proof import Proof

        selection = plan.selection
        timings = {"detect": self.fabric.clock() - began, "install": 0.0, "pull": 0.0, "smoke": 0.0}
        if plan.changed:
            if plan.unused_gpus:
                self.fabric.progress.say(f"{plan.unused_gpus}. Serving on {selection.acceleration}")
            job = self._job(plan, state, offline=options.offline)
            job.run(verb)
            timings |= job.timings_s
            selection = job.plan.selection
        else:
            self._remember(plan, state)
        starting = self.fabric.clock()
        proof = Proof(self.fabric.layout)
        server = Server(self.fabric.layout, selection)
        try:
            seen = wait_until_ready(server, selection.model.name, Patience(options.timeout_s), proof.holds)
        except CannotGenerateError as error:
            proof.failed(server.observe(), error.reason)
            raise
        proof.ready(seen)
        timings["start"] = self.fabric.clock() - starting
        smoke = None
        if options.smoke:
            proving = self.fabric.clock()
            smoke = proof.smoke(seen) or proof.passed(seen, self.fabric.smoke())
            timings["smoke"] = self.fabric.clock() - proving
        timings["total"] = self.fabric.clock() - began
        return UpResult(selection, plan.changes, plan.changed, seen.pid, smoke, timings)

    def _remember(self, plan: Plan, state: State) -> None:
        """Keep another wish that comes to the same, such as another reference to the same file, for the next time."""
        from provision.apply.store import known_by

        old, new = state.selection, plan.selection
        if old is not None and (old.spec, old.model) != (new.spec, new.model):
            entries = known_by(self.fabric.layout, state.entries, new.model_wish, new.model)
            write_state(self.fabric.layout, replace(state, selection=new, tried=plan.tried, entries=entries))

    def _job(self, plan: Plan, state: State, *, offline: bool) -> Job:
        from provision.apply.executor import Job
        from provision.apply.install import Installer
        from provision.engines.registry import ENGINES

        selection = plan.selection
        engine = ENGINES[selection.backend]
        return Job(
            layout=self.fabric.layout,
            plan=plan,
            state=state,
            installer=Installer(
                self.fabric.layout,
                selection,
                engine,
                self.fabric.env,
                self.fabric.progress,
                threading.Event(),
                engine_env=control.child_environment(self.fabric.layout, self.fabric.env),
                offline=offline,
            ),
            render=self.fabric.planner.render,
            restart=self._restart,
            clock=self.fabric.clock,
        )

    def _restart(self, selection: Selection, generation: int) -> None:
        from provision.engines.registry import ENGINES
        from provision.host.secret import store_key

        self.fabric.progress.say(f"Starting the server at {selection.base_url}")
        control.stop(self.fabric.layout)
        place = self.fabric.planner.paths(selection, generation).placement(selection)
        ENGINES[selection.backend].arrange(selection, place)
        store_key(selection.spec.api_key_env, self.fabric.env, self.fabric.layout)
        control.start(self.fabric.layout, generation, self.fabric.env)
