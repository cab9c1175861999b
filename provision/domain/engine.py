"""An engine (the inference server program) as a pinned release, and one launch of it."""

from __future__ import annotations

from dataclasses import field, replace
from enum import Enum

from provision.domain.artifacts import PinnedFile, Wheel, WheelMember
from provision.domain.frozen import frozen


@frozen
class Library:
    """A shared library that the release links to and that some systems lack.

    Where the system has none, ``source`` is put into the engine's own environment.
    """

    name: str
    source: WheelMember


class Method(str, Enum):
    """How a release gets onto a machine, in the order in which they are tried."""

    EXISTING = "existing"  # a program that is there already; never changed, never removed
    ARCHIVE = "archive"  # the upstream project's own release archives
    WHEEL = "wheel"  # one wheel of the package index
    PACKAGES = "packages"  # a pinned set of wheels in an environment of their own
    BUILD = "build"  # compiled here, only when asked for
    REMOTE = "remote"  # a server that somebody else runs


_NEEDED = {  # what a release says, by its method, once it is known where everything comes from
    Method.EXISTING: ("path",),
    Method.ARCHIVE: ("assets", "files"),
    Method.WHEEL: ("wheel",),
    Method.PACKAGES: ("wheels", "python"),
    Method.BUILD: ("sdist",),
    Method.REMOTE: ("path",),
}


@frozen
class Assets:
    """Files of one release on GitHub. ``names`` are regular expressions, each for one archive that is unpacked.

    ``tag`` is the release; where it is gone, or a lock is upgraded, the newest whose tag matches ``tags`` stands in, of
    those that have all files. ``checksums`` is
    the file of the release that lists SHA-256 sums, where it has one; ``strip`` is how many directories at the top
    of each archive are left out.
    """

    repository: str
    tag: str
    names: tuple[str, ...]
    tags: str | None = None
    checksums: str | None = None
    strip: int = 0


@frozen
class EngineRelease:
    """One way to get one build of an engine for one kind of machine.

    ``builds`` names the builds of profiles/builds.yaml that it is, all in the same files; each becomes a release of
    its own, with that name as ``build``. A release that names none says itself what it needs: ``isa`` are the
    processor features without which it dies with SIGILL; ``glibc`` is the oldest version it runs on; ``formats`` are
    those of models it loads. ``installed_bytes`` is the size of the unpacked tree.

    What is fetched is the ``wheel`` with its ``libraries``, the ``wheels`` of the ``wheel_set`` (a file of
    profiles/wheels/, for the interpreter ``python``), the source distribution ``sdist``, or the ``assets``, which
    become ``files``: set and assets are looked up when they are needed.
    ``path`` is the program of a release that is there already.
    """

    engine: str
    source: str
    version: str
    build: str
    system: str
    arch: str
    installed_bytes: int
    acceleration: str
    method: Method = Method.WHEEL
    builds: tuple[str, ...] = ()
    isa: tuple[str, ...] = ()
    glibc: str | None = None
    formats: tuple[str, ...] = ("gguf",)
    wheel: Wheel | None = None
    libraries: tuple[Library, ...] = ()
    wheel_set: str | None = None
    wheels: tuple[Wheel, ...] = ()
    python: str | None = None
    sdist: Wheel | None = None
    assets: Assets | None = None
    files: tuple[PinnedFile, ...] = ()
    path: str | None = None

    @property
    def name(self) -> str:
        """What tells it from all other releases, such as ``llamacpp/archive/cuda12@b11434``."""
        which = self.path or (self.assets.tag if self.assets else self.version)
        return f"{self.engine}/{self.method.value}/{self.build}@{which}"

    @property
    def place(self) -> str:
        """Where it comes from: ``github``, ``index`` for the package index, or ``here``."""
        return "github" if self.assets else "here" if self.path else "index"

    def is_same(self, other: EngineRelease) -> bool:
        """Tell whether ``other`` is this release, whether or not the files of either have been looked up."""

        def known_before(release: EngineRelease) -> EngineRelease:
            learnt = release.assets or release.method is Method.EXISTING
            version = "" if learnt else release.version
            return replace(release, files=(), wheels=(), version=version)

        return known_before(self) == known_before(other)

    @property
    def lacking(self) -> tuple[str, ...]:
        """The fields that its method needs and that say nothing yet."""
        return tuple(name for name in _NEEDED[self.method] if not getattr(self, name))

    @property
    def resolved(self) -> bool:
        """Whether everything that has to be fetched is pinned."""
        return not self.lacking


@frozen
class Health:
    """How a server tells that it is up: the path that answers 200, and the statuses that mean that it loads still."""

    path: str
    loading: tuple[int, ...] = ()


@frozen
class Failure:
    """One way in which an engine fails: a pattern in its log, what to tell the user, and whether to try again.

    ``lost_port`` says that somebody else has its port.
    """

    pattern: str
    reason: str
    hint: str
    restart: bool
    lost_port: bool = False


@frozen
class Launch:
    """How one process of an engine is started. ``files`` are the texts that it reads, by name."""

    argv: tuple[str, ...]
    env: dict[str, str]
    files: dict[str, str] = field(default_factory=dict)


@frozen
class Trial:
    """A command that shows whether an installed engine runs; what it prints is in the tree as ``kept_as``.

    There it stays until the engine is judged, and beyond that where it is ``lasting``: texts that differ from machine
    to machine have no place in a tree that is the same everywhere.
    """

    launch: Launch
    kept_as: str | None = None
    lasting: bool = False


SERVER_FILE = "server.json"  # its name inside a generation


@frozen
class ServerFile:
    """What the supervisor reads: how to start the server, the seconds it may take to stop, its known failures."""

    argv: tuple[str, ...]
    env: dict[str, str]
    stop_grace_s: int
    failures: tuple[Failure, ...] = ()
