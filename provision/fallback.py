"""What served before a change, to serve again where what takes its place does not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from provision.app import Fabric
from provision.apply.state import read_state
from provision.bring_up import BringUp, UpOptions
from provision.domain.frozen import frozen
from provision.domain.selection import Selection
from provision.domain.server import ServerState
from provision.domain.state import State
from provision.errors import FabricError
from provision.host.files import commit
from provision.host.secret import stored_key
from provision.serve.observation import Server


@frozen
class _Before:
    """What served: its selection, the generation that said so, and its API key where that is known."""

    selection: Selection
    generation: int
    api_key: str | None


@dataclass
class Fallback:
    """The way back from one change of the prefix of ``fabric``, made by ``fabric VERB``."""

    fabric: Fabric
    verb: str
    _before: _Before | None = None
    _asked: bool = False

    def remember(self, state: State) -> None:
        """Note what serves now, before anything is changed; from the second time on, that is known."""
        if self._asked:
            return
        self._asked = True
        selection, layout = state.selection, self.fabric.layout
        if selection is not None and Server(layout, selection).observe().state is ServerState.READY:
            self._before = _Before(selection, state.generation, stored_key(layout))
        elif state.current and not state.current.was_ready:  # a run was killed before it could tell, or go back
            served = next((each for each in reversed(state.history) if each.was_ready), None)
            self._before = _Before(served.selection, served.number, None) if served else None

    @property
    def is_open(self) -> bool:
        """Whether something else served before what is configured now."""
        state = read_state(self.fabric.layout)
        return self._before is not None and state is not None and _is_another(self._before, state)

    @contextmanager
    def guarding(self) -> Iterator[None]:
        """Go back where the body fails after it has configured something else; its error tells what came of that."""
        try:
            yield
        except FabricError as error:
            before, state = self._before, read_state(self.fabric.layout)
            if before and state and _is_another(before, state):
                error.hint = " ".join(filter(None, (self._go_back(before, state), error.hint)))
            raise

    def _go_back(self, before: _Before, state: State) -> str:
        """Make what served before the newest generation, and start it; return what came of it."""
        selection, variable = before.selection, before.selection.spec.api_key_env
        shown = f"{selection.model.name} at {selection.base_url}"
        self.fabric.progress.say(f"That does not serve. Going back to {shown}")
        log = self._keep_log(state.generation)
        where = f" What the one that failed has said is in {log}." if log else ""
        state = state.noting(state.generation, log=str(log) if log else None)
        keys = {variable: before.api_key} if variable and before.api_key else {}
        fabric = replace(self.fabric, env={**self.fabric.env, **keys})
        work = BringUp(fabric, self.verb, before.generation, automatic=True)
        try:
            plan = fabric.planner.prefix.plan_back(selection, state)
            work.carry_out(plan, state, UpOptions(smoke=False, offline=True), fabric.clock())
        except FabricError as error:
            return f"Going back to the previous server, {shown}, failed as well: {error.message}{where}"
        return f"The previous server serves again: {shown}.{where}"

    def _keep_log(self, generation: int) -> Path | None:
        """Copy what the server of a generation has said, before another one says more; ``None`` where it said nothing.

        A disk that is full must not keep the previous server from coming back.
        """
        server = Server(self.fabric.layout, None)
        runtime, kept = server.runtime(), self.fabric.layout.failed_log(generation)
        if runtime is None or runtime.generation != generation:
            return None
        with suppress(OSError):
            said = server.log.said_since(runtime.log_start)
            if said:
                commit(kept, said)
                return kept
        return None


def _is_another(before: _Before, state: State) -> bool:
    """Tell whether something else is configured now; what served before would only fail again."""
    same = state.selection is not None and state.selection.is_served_like(before.selection)
    return state.generation != before.generation and not same
