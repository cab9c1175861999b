"""The composition root: builds the ports and joins the stages into what the command line offers."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from provision.errors import UnreachableError
from provision.host.layout import Layout

if TYPE_CHECKING:  # each use case loads what it needs: looking at the machine does without the server's side
    from provision.apply.progress import Progress
    from provision.captures import Taken
    from provision.domain.benchmark import BenchReport
    from provision.domain.client_config import ClientConfig
    from provision.domain.drift import Drift
    from provision.domain.facts import Facts
    from provision.domain.lock import Pins
    from provision.domain.measure import SmokeReport
    from provision.domain.plan import Plan
    from provision.domain.selection import Selection
    from provision.domain.server import Observation
    from provision.domain.spec import Spec
    from provision.domain.state import State
    from provision.fleet import PlannedMachine
    from provision.host.endpoint import EndpointClient
    from provision.host.machine import Machine
    from provision.observe.bench import BenchOptions
    from provision.planner import Planner
    from provision.serve.observation import Server

REQUEST_TIMEOUT_S = 600.0
PATIENCE_S = 1.5


@dataclass
class Fabric:
    """Everything that fabric can do with one prefix on one machine. ``own_models`` is the user's file of models.

    ``take_over`` says that a prefix which was set up on another machine or in another place is this one's from now on.
    """

    layout: Layout
    env: Mapping[str, str]
    progress: Progress
    clock: Callable[[], float] = time.monotonic
    wall_clock: Callable[[], float] = time.time
    own_models: Path | None = None
    take_over: bool = False

    @cached_property
    def machine(self) -> Machine:
        """This machine."""
        from provision.host.machine import LocalMachine

        return LocalMachine(self.env)

    @cached_property
    def planner(self) -> Planner:
        """What plans for this prefix, loaded when it is needed."""
        from provision.planner import Planner

        return Planner(self.layout, self.env, own_models=self.own_models)

    def facts(self, replay: Path | None = None) -> Facts:
        """Return the facts of this machine, or of the one that was captured into ``replay``."""
        if replay is None:
            from provision.facts.detect import detect

            with self._telling("Still asking the drivers and programs of the GPUs; each has up to 15 s"):
                return detect(self.machine, str(self.layout.prefix))
        from provision.facts.stored import read_facts

        return read_facts(replay)

    @contextmanager
    def _telling(self, text: str) -> Iterator[None]:
        """Tell what takes so long, where it does."""
        from threading import Timer

        timer = Timer(PATIENCE_S, self.progress.say, [text])
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def take(self) -> Taken:
        """Return the facts of this machine, and a redacted capture of it."""
        from provision.captures import take

        return take(self.machine, self.layout, self.env)

    def state(self) -> State | None:
        """Return what is recorded; ``None`` where nothing was ever made."""
        from provision.apply.state import read_state

        return read_state(self.layout)

    def server(self) -> Server:
        """Return the server as recorded."""
        from provision.serve.observation import Server

        state = self.state()
        return Server(self.layout, state.selection if state else None)

    def served(self) -> Selection:
        """Return what is served. Raises ``UnreachableError`` where nothing was set up."""
        state = self.state()
        if state is None or state.selection is None:
            raise UnreachableError("Nothing is set up here yet.", "Run `fabric up` first.")
        return state.selection

    def left_to_others(self) -> str | None:
        """Return the address of what is served where somebody else runs it, and so stops it."""
        state = self.state()
        selection = state.selection if state else None
        return selection.base_url if selection is not None and selection.is_remote else None

    def client(self) -> EndpointClient:
        """Return a client for the running server. Raises ``UnreachableError`` where it does not run."""
        from provision.domain.server import ServerState

        selection, server = self.served(), self.server()
        seen = server.observe()
        if seen.state is not ServerState.READY:
            state = f"{seen.state.value} ({seen.detail})" if seen.detail else seen.state.value
            hint = "Somebody else runs it: see that it does." if selection.is_remote else "Run `fabric up`."
            raise UnreachableError(f"The server at {selection.base_url} is {state}.", hint)
        return server.client(REQUEST_TIMEOUT_S)

    def drift(self) -> tuple[Observation, tuple[Drift, ...]]:
        """Return how the server is, and what differs from what was set up."""
        from provision.prefix import Prefix

        state = self.state()
        seen = self.server().observe()
        return seen, Prefix(self.layout, self.env).drift(state, seen) if state else ()

    def plan(
        self,
        spec: Spec,
        facts: Facts | None = None,
        *,
        offline: bool = False,
        refresh: bool = False,
        looks_up: bool = True,
        pins: Pins | None = None,
    ) -> Plan:
        """Return what ``up`` would do here; ``facts`` are those of this machine, where they are known already.

        The other arguments are those of ``Planner``.
        """
        from provision.apply.whereabouts import at_home
        from provision.domain.lock import NO_PINS

        state = at_home(self.layout, self.state(), take_over=self.take_over)
        planner = replace(self.planner, offline=offline, looks_up=looks_up)
        return planner.plan(spec, state, facts or self.facts(), refresh=refresh, pins=pins or NO_PINS)

    def plan_for(self, spec: Spec, path: Path) -> Plan:
        """Return what ``up`` would do on the machine of a facts file or a capture, where nothing is set up yet."""
        from provision.facts.stored import read_facts

        return self.plan_on(spec, read_facts(path))

    def plan_on(self, spec: Spec, facts: Facts) -> Plan:
        """Return what ``up`` would do on a machine with these facts, where nothing is set up yet."""
        from provision.planner import plan_from_nothing

        return plan_from_nothing(self.planner.choosing.anywhere(spec)(facts), facts)

    def matrix(self, spec: Spec, paths: Iterable[Path]) -> Iterator[PlannedMachine]:
        """Return what ``up`` would do on each of many machines, one after the other."""
        from provision.fleet import plan_each

        return plan_each(self.planner.choosing.anywhere(spec), paths)

    def client_config(self) -> ClientConfig:
        """Return what a client needs to know."""
        from provision.domain.client_config import ClientConfig
        from provision.host.secret import stored_key

        selection = self.served()
        key = stored_key(self.layout) if selection.spec.api_key_env else None
        command = shlex.join(
            [*_own_command(), "up", "--no-smoke", "--home", str(self.layout.prefix), *selection.spec.options()]
        )
        return ClientConfig(
            base_url=selection.base_url,
            model=selection.model.name,
            api_key=key,
            local_llm_start_cmd=command,
            backend=selection.backend,
            context=selection.context or None,
        )

    def smoke(self) -> SmokeReport:
        """Prove that the server answers on every surface."""
        from provision.engines.registry import ENGINES
        from provision.observe import smoke

        selection = self.served()
        return smoke.run(self.client(), selection.model.name, ENGINES[selection.backend].serves)

    def bench(self, options: BenchOptions) -> tuple[BenchReport, Path]:
        """Measure latency and throughput of the running server; return the report and where it was saved."""
        from provision.domain.benchmark import BenchHost
        from provision.host.files import commit, explained, make_private_dir
        from provision.host.process import tree
        from provision.observe import bench, report

        client, selection, pid = self.client(), self.served(), self.server().working_pid()
        pids = (lambda: tree(pid)) if pid else list
        measured = bench.run(lambda: client, selection.model.name, pids, options, self.progress.say)
        measured = replace(measured, host=BenchHost.of(self.facts()), backend=selection.backend)
        path = self.layout.reports / time.strftime("bench-%Y%m%dT%H%M%S.json")
        with explained("saving the report"):
            make_private_dir(path.parent)
            commit(path, report.to_json_text(measured).encode())
        return measured, path


def _own_command() -> list[str]:
    """Return how this very fabric is called from anywhere."""
    script = Path(sys.executable).with_name("fabric")
    return [str(script)] if script.exists() else [sys.executable, "-m", "provision"]
