"""Carrying out one plan, and waiting for the server that it is about."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from provision.app import Fabric
from provision.domain.lock import NO_PINS, Pins
from provision.domain.plan import Kind, Plan
from provision.domain.selection import Selection
from provision.domain.server import Observation
from provision.domain.state import State
from provision.keeping import Keeping
from provision.serve.environment import child_environment
from provision.serve.observation import Server
from provision.serve.readiness import CannotGenerateError, wait_until_ready
from provision.serve.waiting import WaitLimits

if TYPE_CHECKING:
    from provision.apply.executor import Job
    from provision.apply.install import Installer
    from provision.serve.proof import Proof


@dataclass(frozen=True)
class BringUp:
    """What is done with one prefix while its lock is held."""

    fabric: Fabric

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
        proof.ready(seen)
        return seen

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
