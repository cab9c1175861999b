"""``fabric gc``: what is not needed any more goes, under the lock and never without knowing what runs."""

from __future__ import annotations

import time

from provision.app import Fabric
from provision.apply.edits import keep_edits
from provision.apply.garbage import Mark, Marked, freed_bytes
from provision.apply.records import entry_drift
from provision.apply.trash import discard
from provision.changing import changing
from provision.domain.drift import DriftKind
from provision.domain.frozen import frozen
from provision.domain.resource import Kind
from provision.domain.state import State
from provision.engines.registry import ENGINES
from provision.errors import FabricError
from provision.host.files import explained
from provision.serve.observation import Server


@frozen
class Collected:
    """What went, or would go, with the bytes of each in the same order, and the bytes that the disk gets back."""

    marked: Marked
    sizes: tuple[int, ...]
    freed_bytes: int


@frozen
class Collector:
    """Collects in the prefix of ``fabric``; ``keep`` generations stay, and models that were pulled unless told."""

    fabric: Fabric
    keep: int
    pulled_models: bool = False

    def look(self) -> Collected | None:
        """Return what would go; ``None`` where nothing is set up. Changes nothing."""
        state = self.fabric.state()
        return self._weighed(state) if state else None

    def collect(self) -> Collected | None:
        """Remove what nobody needs and return it; ``None`` where nothing is set up."""
        layout = self.fabric.layout
        if not layout.marker.exists():
            return None
        with changing(self.fabric, "gc") as state:
            found = self._weighed(state)
            if found.marked.garbage or found.marked.state != state:
                self._keep_added(state, found.marked.state)
                discard(layout, [each.path for each in found.marked.garbage], found.marked.state, "gc")
                let_go_of_links(self.fabric, state)
            return found

    def _keep_added(self, state: State, left: State) -> None:
        """Keep what somebody has added inside an engine that goes."""
        layout = self.fabric.layout
        going = [entry for key, entry in state.entries.items() if key not in left.entries]
        with explained("keeping what was added"):
            found = [each for entry in going for each in entry_drift(layout, entry) if each.kind is DriftKind.EXTRA]
            for added, copy in keep_edits(layout, found, (Kind.ENGINE, Kind.MODEL)).items():
                self.fabric.progress.say(f"{added} was added by somebody; it is kept as {copy}")

    def _weighed(self, state: State) -> Collected:
        mark = Mark(self.fabric.layout, state, self.keep, self._running(), self.pulled_models, time.time())
        with explained("looking for what is not needed"):
            marked = mark.marked()
            sizes = tuple(each.size_bytes for each in marked.garbage)
            return Collected(marked, sizes, freed_bytes(marked.garbage))

    def _running(self) -> int | None:
        """Return the generation that runs. Raises ``FabricError`` where that cannot be told: nothing may go then."""
        layout = self.fabric.layout
        server = Server(layout, None)
        runtime = server.runtime()
        if runtime is None and layout.runtime.exists():
            raise FabricError(
                f"{layout.runtime} makes no sense, so that nobody knows what the server needs. Nothing was removed.",
                "Run `fabric up` first.",
            )
        return runtime.generation if runtime and server.is_ours_running() else None


def let_go_of_links(fabric: Fabric, state: State) -> None:
    """Remove what engines that are not in use hold of models: a second name would keep the bytes on the disk."""
    used = state.selection.backend if state.selection else None
    with explained("removing links to models"):
        for name, engine in ENGINES.items():
            if name != used:
                engine.let_go(fabric.layout.engine_state(name))
