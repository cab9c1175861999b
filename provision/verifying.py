"""``fabric verify``: whether the store is what was installed, and how it becomes so again."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from provision.app import Fabric
from provision.apply.records import why_damaged
from provision.apply.state import read_state
from provision.apply.touched import put_back
from provision.apply.trash import discard
from provision.apply.verify import Problem, Verified, verify
from provision.bring_up import BringUp, UpOptions
from provision.changing import changing, looking
from provision.domain.drift import DriftKind
from provision.domain.frozen import frozen
from provision.domain.plan import Action, Kind, Plan
from provision.domain.state import Generation, State, StoreEntry
from provision.errors import FabricError
from provision.host.files import explained, make_private_dir, point, unused_name
from provision.model_store import ModelStore
from provision.serve.observation import Server

_SET_ASIDE = (DriftKind.CONTENT, DriftKind.OWNER, DriftKind.EXTRA)
_STORED = (Kind.ENGINE, Kind.MODEL)
_NO_MORE_THAN_FILES = UpOptions(smoke=False)


@frozen
class Checked:
    """What was found, what of it was put right, and what was not.

    ``quarantine`` holds the files that were wrong, ``kept`` those that somebody had added.
    """

    found: Verified
    repaired: tuple[Problem, ...] = ()
    left: tuple[Problem, ...] = ()
    quarantine: Path | None = None
    restarted: bool = False
    kept: Path | None = None


@dataclass
class Verification:
    """Reads the store of ``fabric``; ``reading`` is told what is read and how many bytes that is, as a transfer is."""

    fabric: Fabric
    reading: Callable[[str, int], Callable[[int], None]]

    def check(self) -> Checked:
        """Compare everything with its record. Writes nothing; whoever wants to change something waits meanwhile."""
        with looking(self.fabric, "verify"):
            state = self.fabric.state()
            found = self._verify(state) if state else Verified((), (), 0, 0)
            return Checked(found, left=found.problems)

    def repair(self) -> Checked:
        """Put right what is wrong: files that are not what they should be are set aside, and fetched again.

        Raises what fetching raises; what was set aside by then is fetched by the next ``up``.
        """
        if not self.fabric.layout.marker.exists():
            return self.check()
        with changing(self.fabric, "verify") as state:
            found = self._verify(state)
            if not found.problems:
                return Checked(found)
            quarantine, kept = self._set_aside(found.problems, state)
            with _telling(quarantine):
                restarted = self._fetch_again(state)
            now = read_state(self.fabric.layout) or state
            left = tuple(problem for problem in found.problems if self._is_wrong(problem, now))
            repaired = tuple(problem for problem in found.problems if problem not in left)
            return Checked(found, repaired, left, quarantine, restarted, kept)

    def _verify(self, state: State) -> Verified:
        return verify(self.fabric.layout, state, lambda size_bytes: self.reading("the store", size_bytes))

    def _is_wrong(self, problem: Problem, state: State) -> bool:
        entry = state.entries.get(problem.key)
        if problem.drift.kind is DriftKind.EXTRA:
            return problem.drift.path is not None and os.path.lexists(problem.drift.path)
        return entry is not None and bool(why_damaged(self.fabric.layout, entry))

    def _set_aside(self, problems: Iterable[Problem], state: State) -> tuple[Path | None, Path | None]:
        """Move away what is wrong of the store, so that it is missing; put back modes and times.

        Files of others stay, and rendered files as well: applying a plan keeps what a person has written there.
        Return where the files are that were wrong, and those that somebody had added.
        """
        layout, aside, now = self.fabric.layout, dict[bool, Path](), time.strftime("%Y-%m-%d-%H%M%S")
        with explained("setting aside what is wrong"):
            for problem in problems:
                path = Path(problem.drift.path or "")
                if problem.touched or problem.drift.kind is DriftKind.MODE:
                    put_back(path, layout.prefix, state.entries[problem.key])
                elif path == layout.current:
                    point(path, str(layout.generation(state.generation).relative_to(layout.prefix)))
                elif problem.key and problem.drift.kind in _SET_ASIDE and problem.drift.resource in _STORED:
                    added = problem.drift.kind is DriftKind.EXTRA
                    place = unused_name((layout.kept if added else layout.quarantine) / now)
                    place = aside.setdefault(added, place)
                    target = place / path.relative_to(layout.prefix)
                    make_private_dir(target.parent)
                    path.rename(target)
        return aside.get(False), aside.get(True)

    def _fetch_again(self, state: State) -> bool:
        """Bring back what is missing by the path that brought it here; return whether the server was restarted."""
        restarted = False
        for made in reversed(state.history):
            needed = {*made.needs, *(state.in_use if made == state.current else ())}
            if any(key in needed for key in self._damaged(state)):
                restarted = self._carry_out(made, state) or restarted
                state = read_state(self.fabric.layout) or state
        for entry in self._damaged(state).values():
            if entry.known_as and entry.pulled is not False:
                wish, model = next(iter(entry.known_as.items()))
                _, _, state = ModelStore(self.fabric).bring(wish, model, state, offline=False)
            elif entry.kind != Kind.CONFIG.value and not _is_needed(entry, state):
                state = self._forget(entry, state)
        return restarted

    def _forget(self, entry: StoreEntry, state: State) -> State:
        """Remove what is damaged and nobody needs: nothing would bring it back."""
        self.fabric.progress.say(f"{entry.name} ({entry.key}) is not needed any more, and is removed")
        left = {key: each for key, each in state.entries.items() if key != entry.key}
        return discard(
            self.fabric.layout, [self.fabric.layout.prefix / entry.path], replace(state, entries=left), "verify"
        )

    def _damaged(self, state: State) -> dict[str, StoreEntry]:
        layout = self.fabric.layout
        return {key: entry for key, entry in state.entries.items() if why_damaged(layout, entry)}

    def _carry_out(self, made: Generation, state: State) -> bool:
        """Carry out what a plan for a generation says of the store; of the current one, what follows from that, too.

        Return whether the server was restarted: one that does not run is not started for this.
        """
        plan = self.fabric.planner.prefix.plan_back(made.selection, state)
        work = BringUp(self.fabric, "verify")
        if made == state.current and Server(self.fabric.layout, None).is_ours_running():
            work.carry_out(plan, state, _NO_MORE_THAN_FILES, self.fabric.clock())
            return plan.pending(Kind.SERVER) is not None
        kinds = (*_STORED, Kind.CONFIG) if made == state.current else _STORED
        work.job(_only(plan, kinds), state, offline=False).run("verify")
        return False


def _is_needed(entry: StoreEntry, state: State) -> bool:
    return entry.key in {*state.in_use, *(key for each in state.history for key in each.needs)}


@contextmanager
def _telling(quarantine: Path | None) -> Iterator[None]:
    """Say of a failure what is missing meanwhile, and who brings it."""
    try:
        yield
    except FabricError as error:
        aside = f"What was wrong is in {quarantine}; the next `fabric up` fetches it again." if quarantine else None
        error.hint = " ".join(filter(None, (error.hint, aside))) or None
        raise


def _only(plan: Plan, kinds: Iterable[Kind]) -> Plan:
    """Return a plan that leaves alone what is of other kinds."""
    changes = tuple(each if each.kind in kinds else replace(each, action=Action.NONE) for each in plan.changes)
    return replace(plan, changes=changes)
