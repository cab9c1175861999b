"""Putting an engine and a model into the store: staged, checked, then named."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from provision.apply.progress import Progress
from provision.apply.store import engine_path, model_path, record
from provision.artifacts.fetch import Fetcher
from provision.artifacts.pip_settings import PackageSettings, read_local, uv_environment
from provision.artifacts.uv import Uv
from provision.domain.artifacts import Wheel
from provision.domain.engine import EngineRelease, Launch
from provision.domain.model import Model
from provision.domain.selection import Selection
from provision.domain.state import StoreEntry
from provision.engines.engine import Engine
from provision.engines.exits import decode
from provision.errors import CannotCreateError, FabricError, UnreachableError
from provision.host.download import Transport
from provision.host.files import commit_tree, explained, make_private_dir, remove_tree, sync
from provision.host.layout import Layout
from provision.host.machine import LocalMachine
from provision.host.part import drop_old
from provision.host.program import Command, run

PREFLIGHT_TIMEOUT_S = 60.0
SLACK_BYTES = 64 << 20
_UV_PLATFORMS = {
    ("Linux", "x86_64"): "x86_64-manylinux_2_28",
    ("Linux", "aarch64"): "aarch64-manylinux_2_28",
    ("Darwin", "arm64"): "aarch64-apple-darwin",
    ("Darwin", "x86_64"): "x86_64-apple-darwin",
}


class EngineUnfitError(FabricError):
    """The installed engine does not start on this machine; nothing of it was kept."""

    code = "engine-unfit"


@dataclass(frozen=True)
class Installer:
    """Installs what a selection needs. ``env`` is the user's; ``stop`` ends every transfer and program."""

    layout: Layout
    selection: Selection
    engine: Engine
    env: Mapping[str, str]
    progress: Progress
    stop: threading.Event

    def prepare(self, wheels: list[Wheel], need_bytes: int, offline: bool) -> Fetcher:
        """Check the space, make the staging directory and find out where the files are.

        Raises ``CannotCreateError`` before the first byte where the disk is too small.
        """
        if offline:
            names = ", ".join(wheel.filename for wheel in wheels)
            raise UnreachableError(f"Not here yet, and --offline was given: {names}.", "Run once without --offline.")
        staging = self.layout.staging
        with explained("making the staging directory"):
            make_private_dir(staging)
        space = LocalMachine(self.env).space(str(staging))
        if space is not None and space.free_bytes < need_bytes + SLACK_BYTES:
            raise CannotCreateError(
                f"Not enough space in {self.layout.prefix}: {(need_bytes + SLACK_BYTES) >> 20} MiB are needed, "
                f"{space.free_bytes >> 20} MiB are free. Nothing was fetched.",
                "Free some space, or use --home on another disk.",
            )
        release = self.selection.release
        self.progress.say("Asking the package index")
        addresses = self._uv().locate(wheels, _UV_PLATFORMS[release.system, release.arch])
        env = {**self.env, **uv_environment(self._settings, self.env)}
        transport = Transport(env, self._settings.certificate, self._settings.trusted_hosts)
        drop_old(self.layout.partial, time.time())
        return Fetcher(addresses, transport, staging, self.stop, self.layout.partial, self.progress.say)

    def install_engine(self, fetcher: Fetcher) -> StoreEntry:
        """Install the engine into an environment of its own and prove that it starts here.

        Raises ``EngineUnfitError`` with the decoded reason where it does not.
        """
        release, provided = self.selection.release, self.selection.provided_libraries
        staged = self.layout.staging / "engine"
        uv = self._uv()
        with explained("installing the engine"):
            remove_tree(staged)
            uv.make_environment(staged)
            arrived = self.progress.transfer(f"{release.engine} {release.build}", release.wheel.size_bytes)
            wheel = fetcher.wheel(release.wheel, arrived)
            uv.install(staged, wheel)
            wheel.unlink()
            self._provide_libraries(release, provided, staged, fetcher)
            self._preflight(staged)
            final = engine_path(self.layout, release, provided)
            make_private_dir(final.parent)
            remove_tree(final)
            commit_tree(staged, final)
        return record(self.layout, "engine", release.engine, final)

    def install_model(self, model: Model, fetcher: Fetcher) -> StoreEntry:
        """Fetch the model into the store under the hash of its content."""
        if model.source is None:
            raise FabricError(f"{model.name} has no source to fetch it from.")
        staged = self.layout.staging / "model"
        arrived = self.progress.transfer(model.name, model.source.download_bytes)
        fetcher.member(model.source, staged, arrived)
        final = model_path(self.layout, model)
        with explained("storing the model"):
            make_private_dir(final.parent)
            staged.chmod(0o400)
            sync(staged)
            staged.replace(final)
            sync(final.parent)
        return record(self.layout, "model", model.name, final)

    def _provide_libraries(
        self, release: EngineRelease, provided: tuple[str, ...], staged: Path, fetcher: Fetcher
    ) -> None:
        place = staged / "lib" / "provided"
        make_private_dir(place)
        for library in release.libraries:
            if library.name in provided:
                fetcher.member(library.source, place / library.name, lambda _: None)

    def _preflight(self, staged: Path) -> None:
        """A wheel for another processor dies with SIGILL: better now than when the server starts."""
        launch = self.engine.preflight(staged, self.layout.staging)
        for name, text in launch.files.items():
            (self.layout.staging / name).write_text(text, encoding="utf-8")
        result = run(_command(launch), self.env, self.stop)
        if result.returncode != 0:
            ended = decode(result.returncode, result.stderr, self.engine.failures())
            said = result.stderr.strip().splitlines()[-1:]
            raise EngineUnfitError(
                f"{self.engine.name} {self.selection.release.version} does not start on this machine: {ended.reason}."
                + (f" ({said[0]})" if said else ""),
                ended.hint or "See `fabric doctor`.",
            )

    @cached_property
    def _settings(self) -> PackageSettings:
        return read_local(self.env)

    def _uv(self) -> Uv:
        return Uv(self.env, self._settings, self.layout.staging / "uv", self.stop)


def _command(launch: Launch) -> Command:
    return Command(launch.argv, PREFLIGHT_TIMEOUT_S, launch.env)


def wheels_of(selection: Selection, *, engine: bool, model: bool) -> list[Wheel]:
    """Return the wheels that installing needs."""
    found = []
    if engine:
        found.append(selection.release.wheel)
        provided = selection.provided_libraries
        found += [lib.source.wheel for lib in selection.release.libraries if lib.name in provided]
    if model and selection.model.source:
        found.append(selection.model.source.wheel)
    return found
