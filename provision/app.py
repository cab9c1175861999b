"""The composition root: builds the ports and joins the stages into what the command line offers."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from provision.apply.drift import drift
from provision.apply.progress import Progress
from provision.apply.state import check_prefix, open_prefix, read_state, write_state
from provision.domain.facts import Facts
from provision.domain.plan import Change, Plan
from provision.domain.selection import Selection
from provision.domain.server import Observation, ServerState
from provision.domain.spec import Spec
from provision.domain.state import State
from provision.errors import InvalidInputError, UnreachableError
from provision.host.layout import Layout
from provision.serve.observation import Server
from provision.serve.readiness import Patience, PortLostError, wait_until_ready

if TYPE_CHECKING:
    from provision.apply.executor import Job
    from provision.domain.benchmark import BenchReport
    from provision.domain.measure import SmokeReport
    from provision.host.loopback import LoopbackClient
    from provision.observe.bench import BenchOptions
    from provision.plan.render import ClientConfig
    from provision.planner import Planner

LOCK_WAIT_S = 900.0
REQUEST_TIMEOUT_S = 600.0


@dataclass(frozen=True)
class UpOptions:
    """How ``up`` goes about it. ``timeout_s`` bounds the wait for the server."""

    smoke: bool = True
    offline: bool = False
    timeout_s: float | None = None


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
class Fabric:
    """Everything that fabric can do with one prefix on one machine."""

    layout: Layout
    env: Mapping[str, str]
    progress: Progress
    clock: Callable[[], float] = time.monotonic

    @cached_property
    def _planner(self) -> Planner:
        from provision.host.machine import LocalMachine
        from provision.planner import Planner

        return Planner(self.layout, self.env, LocalMachine(self.env))

    def facts(self) -> Facts:
        """Return the facts of this machine."""
        return self._planner.facts()

    def state(self) -> State | None:
        """Return what is recorded; ``None`` where nothing was ever made."""
        return read_state(self.layout)

    def server(self) -> Server:
        """Return the server as recorded."""
        state = self.state()
        return Server(self.layout, state.selection if state else None)

    def served(self) -> Selection:
        """Return what is served. Raises ``UnreachableError`` where nothing was set up."""
        state = self.state()
        if state is None or state.selection is None:
            raise UnreachableError("Nothing is set up here yet.", "Run `fabric up` first.")
        return state.selection

    def client(self) -> LoopbackClient:
        """Return a client for the running server. Raises ``UnreachableError`` where it does not run."""
        selection, server = self.served(), self.server()
        seen = server.observe()
        if seen.state is not ServerState.READY:
            state = f"{seen.state.value} ({seen.detail})" if seen.detail else seen.state.value
            raise UnreachableError(f"The server at {selection.base_url} is {state}.", "Run `fabric up`.")
        return server.client(REQUEST_TIMEOUT_S)

    def drift(self) -> tuple[Observation, tuple[Change, ...]]:
        """Return how the server is, and what differs from what was set up."""
        state = self.state()
        seen = self.server().observe()
        return seen, drift(self.layout, state, seen) if state and state.selection else ()

    def plan(self, spec: Spec, facts: Facts | None = None) -> Plan:
        """Return what ``up`` would do; with ``facts``, on that machine, where nothing is set up yet."""
        return self._planner.plan(spec, self.state()) if facts is None else self._planner.plan_elsewhere(spec, facts)

    def up(self, spec: Spec, options: UpOptions) -> UpResult:
        """Detect, plan, install, render, start, wait until ready, smoke."""
        with self._changing("up") as state:
            began = self.clock()
            try:
                return self._carry_out(self._planner.plan(spec, state), state, options, began)
            except PortLostError:
                if spec.port:
                    raise
                self.progress.say("Somebody was faster and has the port now; taking another one")
                moved = read_state(self.layout) or state
                return self._carry_out(self._planner.plan(spec, moved), moved, options, began)

    def apply(self, saved: Plan, options: UpOptions) -> UpResult:
        """Carry out exactly ``saved``. Raises ``InvalidInputError`` where the world has moved since."""
        with self._changing("apply") as state:
            began = self.clock()
            if saved.lineage not in ("", state.lineage) or saved.serial != state.serial:
                raise InvalidInputError("This plan does not fit any more: the state has changed.", _PLAN_AGAIN)
            plan = self._planner.plan(saved.selection.spec, state if saved.lineage else None)
            if plan.digest != saved.digest:
                raise InvalidInputError(
                    "This plan does not fit any more: the machine or the data files have changed.", _PLAN_AGAIN
                )
            return self._carry_out(plan, state, options, began)

    def down(self) -> bool:
        """Stop the server; ``False`` where none ran. Keeps what is installed."""
        from provision.serve import control

        if not self.layout.marker.exists():
            return False
        with self._changing("down"):
            return control.stop(self.layout)

    def destroy(self, *, keep_models: bool) -> list[str]:
        """Stop the server and remove everything that fabric made; return what was removed."""
        from provision.apply.destroy import remove_prefix
        from provision.serve import control

        if not self.layout.prefix.exists():
            return []
        with self._changing("destroy") as state:
            control.stop(self.layout)
            return remove_prefix(self.layout, state, keep_models=keep_models)

    def client_config(self) -> ClientConfig:
        """Return what a client needs to know."""
        from provision.host.files import read_bytes
        from provision.plan.render import ClientConfig

        selection = self.served()
        key = read_bytes(self.layout.api_key) if selection.spec.api_key_env else None
        command = shlex.join(
            [*_own_command(), "up", "--no-smoke", "--home", str(self.layout.prefix), *selection.spec.options()]
        )
        return ClientConfig(selection.base_url, selection.model.name, key.decode().strip() if key else None, command)

    def write_config(self, path: Path, text: str) -> None:
        """Write a rendered configuration where the user wants it, and remember it for ``destroy``."""
        from provision.host.files import commit, explained

        path = path.absolute()
        with self._changing("config") as state:
            if path.exists() and str(path) not in state.written_files:
                raise InvalidInputError(f"{path} exists and was not written by fabric.", "Name a new file.")
            with explained("writing the configuration"):
                commit(path, text.encode())
            write_state(self.layout, replace(state, written_files=tuple(sorted({*state.written_files, str(path)}))))

    def smoke(self) -> SmokeReport:
        """Prove that the server answers on every surface."""
        from provision.observe import smoke

        return smoke.run(self.client(), self.served().model.name)

    def bench(self, options: BenchOptions) -> tuple[BenchReport, Path]:
        """Measure latency and throughput of the running server; return the report and where it was saved."""
        from provision.domain.benchmark import BenchHost
        from provision.host.files import commit, explained, make_private_dir
        from provision.host.process import tree
        from provision.observe import bench, report

        client, selection, runtime = self.client(), self.served(), self.server().runtime()
        supervisor = runtime.supervisor.pid if runtime else 0
        measured = bench.run(lambda: client, selection.model.name, lambda: tree(supervisor), options, self.progress.say)
        measured = replace(measured, host=BenchHost.of(self.facts()), backend=selection.backend)
        path = self.layout.reports / time.strftime("bench-%Y%m%dT%H%M%S.json")
        with explained("saving the report"):
            make_private_dir(path.parent)
            commit(path, report.to_json_text(measured).encode())
        return measured, path

    @contextmanager
    def _changing(self, doing: str) -> Iterator[State]:
        """Hold the lock, clear what a killed run left, and give the state."""
        from provision.apply.journal import recover
        from provision.host.lock import exclusive

        check_prefix(self.layout)
        made = self.layout.missing_parents()
        waiting = f"Waiting, because {{}} is at work here; `fabric {doing}` goes on when it is done"
        with exclusive(
            self.layout.lock,
            self.layout.lock_holder,
            doing,
            LOCK_WAIT_S,
            lambda who: self.progress.say(waiting.format(who)),
        ):
            state = open_prefix(self.layout, made)
            interrupted = recover(self.layout)
            if interrupted:
                self.progress.say(
                    f"`fabric {interrupted.verb}` (process {interrupted.pid}) was interrupted at "
                    f"'{interrupted.step}'. Going on from what it finished."
                )
            yield state

    def _carry_out(self, plan: Plan, state: State, options: UpOptions, began: float) -> UpResult:
        from provision.serve.proof import Proof

        selection = plan.selection
        timings = {"detect": self.clock() - began, "install": 0.0, "pull": 0.0}
        if plan.changed:
            job = self._job(plan, state, offline=options.offline)
            job.run("up")
            timings |= job.timings_s
        starting = self.clock()
        proof = Proof(self.layout)
        server = Server(self.layout, selection)
        seen = wait_until_ready(server, selection.model.name, Patience(options.timeout_s), proof.holds)
        proof.ready(seen)
        timings["start"] = self.clock() - starting
        smoke = None
        if options.smoke:
            proving = self.clock()
            smoke = proof.smoke(seen) or proof.passed(seen, self.smoke())
            timings["smoke"] = self.clock() - proving
        timings["total"] = self.clock() - began
        return UpResult(selection, plan.changes, plan.changed, seen.pid, smoke, timings)

    def _job(self, plan: Plan, state: State, *, offline: bool) -> Job:
        import threading

        from provision.apply.executor import Job
        from provision.apply.install import Installer
        from provision.engines.registry import ENGINES

        selection = plan.selection
        engine = ENGINES[selection.backend]
        return Job(
            layout=self.layout,
            plan=plan,
            state=state,
            installer=Installer(self.layout, selection, engine, self.env, self.progress, threading.Event()),
            render=lambda generation: self._planner.render(selection, generation),
            restart=lambda generation: self._restart(selection, generation),
            offline=offline,
            clock=self.clock,
        )

    def _restart(self, selection: Selection, generation: int) -> None:
        from provision.apply.secret import store_key
        from provision.serve import control

        self.progress.say(f"Starting the server at {selection.base_url}")
        control.stop(self.layout)
        store_key(selection.spec.api_key_env, self.env, self.layout)
        control.start(self.layout, generation, self.env)


_PLAN_AGAIN = "Make a new one with `fabric plan --out FILE`."


def _own_command() -> list[str]:
    """Return how this very fabric is called from anywhere."""
    script = Path(sys.executable).with_name("fabric")
    return [str(script)] if script.exists() else [sys.executable, "-m", "provision"]
