"""``fabric.lock``: all that one wish was resolved to, for each kind of machine, so that nothing is looked up again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import field
from pathlib import Path

from provision.domain.artifacts import PinnedFile, Wheel, WheelMember
from provision.domain.engine import EngineRelease
from provision.domain.frozen import frozen
from provision.domain.model import Model
from provision.domain.spec import Spec
from provision.errors import InvalidInputError

LOCK_FILE = "fabric.lock"
LOCK_VERSION = 1
_WITH_REVISION = ("hf", "ollama")  # where upstream moves what a name stands for


@frozen
class LockedPlatform:
    """What is installed on machines of one kind.

    ``urls`` maps the file names of a package index to their addresses, as the index gave them when it was asked.
    """

    release: EngineRelease
    model: Model
    urls: dict[str, str] = field(default_factory=dict)


@frozen
class Lock:
    """The whole file. ``platforms`` go by names such as ``linux-x86_64-cpu``.

    ``wish`` are the options that it was made for, of those that decide what is installed.
    """

    wish: tuple[str, ...] = ()
    platforms: dict[str, LockedPlatform] = field(default_factory=dict)
    fabric_version: str = ""
    lock_version: int = LOCK_VERSION


@frozen
class Pins:
    """What of a lock is used for a plan: its ``entries``, by the name of their kind of machine.

    ``strict`` forbids everything else. ``bundle`` is the archive that holds their files, where nothing is fetched;
    ``holder`` is what people call the lock.
    """

    entries: dict[str, LockedPlatform] = field(default_factory=dict)
    strict: bool = False
    bundle: Path | None = None
    holder: str = LOCK_FILE

    def of(self, system: str | None, arch: str | None) -> tuple[LockedPlatform, ...]:
        """Return the entries for machines of this system and processor, whatever computes there.

        Raises ``InvalidInputError`` where there is none and nothing else may be used.
        """
        here = (system, arch)
        found = tuple(each for each in self.entries.values() if (each.release.system, each.release.arch) == here)
        if self.strict and not found:
            told = ", ".join(sorted(self.entries)) or "none"
            raise InvalidInputError(
                f"{self.holder} has no entry for {system} on {arch}; it has {told}.",
                "Run `fabric lock` with the same options on such a machine: it adds one.",
            )
        return found

    def urls(self, release: EngineRelease) -> dict[str, str]:
        """Return the addresses that are pinned for a release; empty where it is none of a lock."""
        return next((each.urls for each in self.entries.values() if each.release == release), {})


NO_PINS = Pins()


def wish_of(spec: Spec) -> tuple[str, ...]:
    """Return the options that a lock for this wish is made for."""
    return tuple(spec.deciding.options())


def platform_name(release: EngineRelease) -> str:
    """Return the name of the kind of machine that a release is for, such as ``linux-x86_64-cuda``."""
    return f"{release.system}-{release.arch}-{release.acceleration}".lower()


def lacking(locked: LockedPlatform) -> Iterator[str]:
    """Yield what is missing in an entry: every file has an address, a size and a SHA-256."""
    release, model = locked.release, locked.model
    yield from (f"{name} of {release.name}" for name in release.lacking)
    yield from _lacking_of(model)
    yield from (
        f"files of {thing.name} that other machines have: it is {thing.path} on this one"
        for thing in (release, model)
        if thing.path
    )
    for file in (*release.files, *model.files):
        yield from _untold(file.path, file.urls, file.size_bytes, file.sha256)
        yield from [] if file.hash_source else [f"the source of the SHA-256 of {file.path}"]
    for wheel in every_wheel(release, model):
        yield from _untold(wheel.filename, locked.urls.get(wheel.filename), wheel.size_bytes, wheel.sha256)
    for member in members(release, model):
        yield from _untold(member.path, member.wheel.filename, member.size_bytes, member.sha256)


def _lacking_of(model: Model) -> Iterator[str]:
    if not model.resolved:
        yield f"the files of {model.name}"
    if model.place in _WITH_REVISION and not model.revision:
        yield f"the revision of {model.name}"
    if not model.sha256 and (model.source or len(model.files) == 1):
        yield f"the SHA-256 of {model.name}"


def _untold(name: str, address: object, size_bytes: object, sha256: object) -> Iterator[str]:
    told = (("an address", address), ("a size", size_bytes), ("a SHA-256", sha256))
    yield from (f"{what} of {name}" for what, value in told if value in (None, "", ()))  # a file may be empty


def every_wheel(release: EngineRelease, model: Model) -> list[Wheel]:
    """Return every file of a package index that an entry needs, on a machine that lacks all libraries; each once."""
    found = [release.wheel, release.sdist, *release.wheels, *(member.wheel for member in members(release, model))]
    return list(dict.fromkeys(wheel for wheel in found if wheel is not None))


def members(release: EngineRelease, model: Model) -> list[WheelMember]:
    """Return what is taken out of wheels: libraries that a system may lack, and a model."""
    return [*(library.source for library in release.libraries), *([model.source] if model.source else [])]


def content(locked: LockedPlatform) -> dict[str, PinnedFile]:
    """Return all that installing an entry takes, by its SHA-256: whole files, and what is taken out of wheels."""
    release, model = locked.release, locked.model
    whole = [wheel for wheel in (release.wheel, release.sdist, *release.wheels) if wheel]
    pinned = [PinnedFile(wheel.filename, (), wheel.size_bytes, wheel.sha256) for wheel in whole]
    pinned += [PinnedFile(each.path, (), each.size_bytes, each.sha256) for each in members(release, model)]
    return {file.sha256: file for file in (*pinned, *release.files, *model.files) if file.sha256}
