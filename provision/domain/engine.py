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
    runs on; ``installed_bytes`` is the size of the unpacked environment; ``formats`` are those of models it loads.
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
    formats: tuple[str, ...] = ("gguf",)


@dataclass(frozen=True)
class Failure:
    """One way in which an engine fails: a pattern in its log, what to tell the user, and whether to try again."""

    pattern: str
    reason: str
    hint: str
    restart: bool


@dataclass(frozen=True)
class Launch:
    """How one process of an engine is started. ``files`` are the texts that it reads, by name."""

    argv: tuple[str, ...]
    env: dict[str, str]
    files: dict[str, str] = field(default_factory=dict)


SERVER_FILE = "server.json"  # its name inside a generation


@dataclass(frozen=True)
class ServerFile:
    """What the supervisor reads: how to start the server, the seconds it may take to stop, its known failures."""

    argv: tuple[str, ...]
    env: dict[str, str]
    stop_grace_s: int
    failures: tuple[Failure, ...] = ()
