"""An engine (the inference server program) as a pinned release, and one launch of it."""

from __future__ import annotations

from dataclasses import dataclass, field

from provision.domain.artifacts import Wheel, WheelMember


@dataclass(frozen=True)
class Library:
    """A shared library that the release links to and that some systems lack.

    Where the system has none, ``source`` is put into the engine's own environment.
    """

    name: str
    source: WheelMember


@dataclass(frozen=True)
class EngineRelease:
    """One build of an engine for one kind of machine.

    ``isa`` are the processor features without which it dies with SIGILL; ``glibc`` is the oldest version it
    runs on; ``installed_bytes`` is the size of the unpacked environment.
    """

    engine: str
    source: str
    version: str
    build: str
    system: str
    arch: str
    wheel: Wheel
    installed_bytes: int
    acceleration: str
    isa: tuple[str, ...] = ()
    glibc: str | None = None
    libraries: tuple[Library, ...] = ()


@dataclass(frozen=True)
class Launch:
    """How one server process is started: everything in it ends up in files, never in a shell.

    ``files`` maps names inside the generation directory to their text; ``argv`` and ``env`` may refer to the
    directories ``{generation}``, ``{engine}`` and ``{secrets}``.
    """

    argv: tuple[str, ...]
    env: dict[str, str]
    files: dict[str, str] = field(default_factory=dict)
