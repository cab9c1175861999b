"""``fabric.lock``: all that one wish was resolved to, for each kind of machine, so that nothing is looked up again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from provision.domain.artifacts import Wheel
from provision.domain.engine import EngineRelease
from provision.domain.model import Model

LOCK_VERSION = 1


@dataclass(frozen=True)
class LockedPlatform:
    """What is installed on machines of one kind.

    ``urls`` maps the file names of a package index to their addresses, as the index gave them when it was asked;
    an index of another machine may have them elsewhere.
    """

    release: EngineRelease
    model: Model
    urls: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Lock:
    """The whole file. ``wish`` are the options that it was made for, ``platforms`` go by ``linux-x86_64-cpu``."""

    wish: tuple[str, ...] = ()
    platforms: dict[str, LockedPlatform] = field(default_factory=dict)
    fabric_version: str = ""
    lock_version: int = LOCK_VERSION


def platform_name(release: EngineRelease) -> str:
    """Return the name of the kind of machine that a release is for, such as ``linux-x86_64-cuda``."""
    return f"{release.system}-{release.arch}-{release.acceleration}".lower()


def lacking(locked: LockedPlatform) -> Iterator[str]:
    """Yield what is missing in an entry: every file has an address, a size and a SHA-256."""
    release, model = locked.release, locked.model
    for thing in (release, model):
        if not thing.resolved:
            yield f"the files of {thing.name}"
    for file in (*release.files, *model.files):
        told = (("an address", file.urls), ("a size", file.size_bytes), ("a SHA-256", file.sha256))
        yield from (f"{what} of {file.path}" for what, value in told if not value)
    for wheel in wheels_of(release, model):
        if not locked.urls.get(wheel.filename):
            yield f"an address of {wheel.filename}"
    if model.source is not None and not model.source.sha256:
        yield f"a SHA-256 of {model.source.path}"


def wheels_of(release: EngineRelease, model: Model) -> list[Wheel]:
    """Return every file of a package index that an entry needs, on a machine that lacks all libraries."""
    found = [release.wheel, release.sdist, *release.wheels, *(library.source.wheel for library in release.libraries)]
    return [*(wheel for wheel in found if wheel), *([model.source.wheel] if model.source else [])]
