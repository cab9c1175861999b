"""What served before a change, to serve again where what takes its place does not become ready."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from provision.app import Fabric
from provision.apply.state import read_state
from provision.bring_up import BringUp
from provision.domain.selection import Selection
from provision.domain.server import ServerState
from provision.domain.state import State
from provision.errors import FabricError
from provision.host.secret import stored_key
from provision.serve.observation import Server


@dataclass(frozen=True)
class _Before:
    """What served: its selection, the generation that said so, and its API key."""

    selection: Selection
    generation: int
    api_key: str | None


@dataclass
class Fallback:
    """The way back from one change of the prefix of ``fabric``."""

    fabric: Fabric
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

    @contextmanager
    def guarding(self) -> Iterator[None]:
        """Go back where the body fails after it has configured something else; its error tells what came of that."""
        try:
            yield
        except FabricError as error:
            before, state = self._before, read_state(self.fabric.layout)
            if before and state and state.generation != before.generation and not _is_same(before, state):
                error.hint = " ".join(filter(None, (self._go_back(before, state), error.hint)))
            raise

    def _go_back(self, before: _Before, state: State) -> str:
        """Make what served before the newest generation, and start it; return what came of it."""
        from provision.serve.proof import Proof

        selection, variable = before.selection, before.selection.spec.api_key_env
        shown = f"{selection.model.name} at {selection.base_url}"
        self.fabric.progress.say(f"That does not serve. Going back to {shown}")
        keys = {variable: before.api_key} if variable and before.api_key else {}
        fabric = replace(self.fabric, env={**self.fabric.env, **keys})
        work = BringUp(fabric)
        try:
            work.job(fabric.planner.prefix.plan_back(selection, state), state, offline=True).run("up")
            work.wait(selection, None, Proof(fabric.layout))
        except FabricError as error:
            return f"Going back to the previous server, {shown}, failed as well: {error.message}"
        return f"The previous server serves again: {shown}."


def _is_same(before: _Before, state: State) -> bool:
    """Tell whether what failed is what served before, so that it would only fail again."""
    old, new = before.selection, state.selection
    return new is not None and new == replace(old, fit=new.fit, why=new.why, why_not=new.why_not)
