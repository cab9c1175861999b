"""``fabric.lock``: all that one wish was resolved to, for each kind of machine, so that nothing is looked up again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

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
    """The whole file. ``wish`` are the options that it was made for; ``platforms`` go by names like ``linux-x86_64-cpu``."""

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
    if not release.resolved:
        yield f"the files of {release.name}"
    if not model.resolved:
        yield f"the files of {model.name}"
    for file in (*release.files, *model.files):
        for name, value in (("an address", file.urls), ("a size", file.size_bytes), ("a SHA-256", file.sha256)):
            if not value:
                yield f"{name} of {file.path}"
    wheels = [release.wheel, release.sdist, *release.wheels, *(library.source.wheel for library in release.libraries)]
    wheels += [model.source.wheel] if model.source else []
    for wheel in wheels:
        if wheel is not None and not locked.urls.get(wheel.filename):
            yield f"an address of {wheel.filename}"
    if model.source is not None and not model.source.sha256:
        yield f"a SHA-256 of {model.source.path}"
