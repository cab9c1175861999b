"""Who keeps the server of a prefix running: its service made, changed and taken away."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from provision.apply.progress import Progress
from provision.apply.service_file import install, look, lost_record, remove
from provision.apply.state import read_state, write_state
from provision.domain.frozen import frozen
from provision.domain.selection import Selection
from provision.domain.spec import SYSTEMD
from provision.domain.state import ServiceUnit, State
from provision.errors import FabricError
from provision.facts.services import lingers
from provision.host.layout import Layout
from provision.host.machine import LocalMachine
from provision.serve import control
from provision.serve.keeper import Keeper, keeper_of
from provision.serve.systemd import set_linger


@frozen
class Keeping:
    """The service of one prefix, while its lock is held."""

    layout: Layout
    env: Mapping[str, str]
    progress: Progress

    def keeper(self) -> Keeper:
        """Return who keeps the server running now, as the state has it."""
        state = read_state(self.layout)
        return keeper_of(state.unit if state else None, self.layout, self.env)

    def start(self, generation: int) -> None:
        """Start the server of a generation. Raises ``FabricError`` where its supervisor does not come up."""
        control.start(self.layout, generation, self.env, self.keeper())

    def stop(self) -> bool:
        """Stop the server; ``False`` where none ran."""
        return control.stop(self.layout, self.keeper())

    def change(self, selection: Selection, state: State) -> State:
        """Make the service as ``selection`` wishes; return the state that owns it. The server is stopped meanwhile."""
        self.stop()
        seen = look(self.layout, self.env, state.unit, None if selection.is_remote else selection.spec)
        if state.unit is not None and seen.recorded is None:
            state = self._removed(state, state.unit)
        if seen.wanted is None:
            return state
        state, aside = install(self.layout, state, seen.wanted)
        self._tell(aside)
        return self._lingering(state, wanted=seen.lingering, is_on=seen.lingers)

    def take_away(self, state: State | None) -> list[str]:
        """Stop the server, remove its service for good and return the files; ``None`` for a state that is lost."""
        unit = state.unit if state else lost_record(self.layout, self.env)
        control.stop(self.layout, keeper_of(unit, self.layout, self.env))
        if unit is None:
            return []
        self._remove(unit)
        if state is not None:
            write_state(self.layout, replace(state, unit=None))
        return [unit.path]

    def _removed(self, state: State, unit: ServiceUnit) -> State:
        self._remove(unit)
        return write_state(self.layout, replace(state, unit=None))

    def _remove(self, unit: ServiceUnit) -> None:
        if unit.lingers:
            self._stop_lingering()
        self._tell(remove(self.layout, unit))
        keeper_of(unit, self.layout, self.env).forget()

    def _lingering(self, state: State, *, wanted: bool, is_on: bool | None) -> State:
        """Turn lingering on where it is off and asked for; off where we had turned it on and nobody asks any more."""
        unit = state.unit
        if unit is None or unit.service != SYSTEMD or wanted == bool(is_on if wanted else unit.lingers):
            return state
        if wanted:
            return self._start_lingering(state, unit)
        return self._note_lingering(state, unit, lingers=False) if self._stop_lingering() else state

    def _start_lingering(self, state: State, unit: ServiceUnit) -> State:
        """It is on record before it is done, or a run that is killed here would leave it on for ever."""
        state = self._note_lingering(state, unit, lingers=True)
        try:
            set_linger(self.env, on=True)
        except FabricError:  # whoever turns it on now is not us
            self._note_lingering(state, unit, lingers=False)
            raise
        return state

    def _note_lingering(self, state: State, unit: ServiceUnit, *, lingers: bool) -> State:
        return write_state(self.layout, replace(state, unit=replace(unit, lingers=lingers)))

    def _stop_lingering(self) -> bool:
        """Return whether it is off now. Where that is not allowed it is told: nothing else fails for it."""
        if lingers(LocalMachine(self.env)) is False:
            return True
        try:
            set_linger(self.env, on=False)
        except FabricError as error:
            self.progress.say(f"{error.message} {error.hint}")
            return False
        return True

    def _tell(self, aside: Path | None) -> None:
        if aside is not None:
            self.progress.say(f"What somebody else had written into the service's file is kept: {aside}")
