"""What every engine tells about itself. Adding one is one file with this shape, and its releases in profiles/."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path

from provision.domain.engine import EngineRelease, Failure, Health, Launch, Trial
from provision.domain.frozen import frozen
from provision.domain.model import Model
from provision.domain.selection import Selection
from provision.knowledge.engine_files import load_engine_file


@frozen
class Placement:
    """Where the parts of one server lie: absolute paths. ``state`` is a directory that the engine itself may fill."""

    engine: Path
    model: Path
    generation: Path
    state: Path
    api_key: Path | None


class Engine(ABC):
    """One inference server program. What most engines have in common is written here once."""

    name: str
    health = Health("/health", loading=(503,))
    stop_grace_s = 10

    def releases(self) -> Sequence[EngineRelease]:
        """Return what can be installed, best first."""
        return load_engine_file(self.name).releases

    def failures(self) -> Sequence[Failure]:
        """Return the known failure signatures, first match wins."""
        return load_engine_file(self.name).failures

    @abstractmethod
    def preflight(self, release: EngineRelease, engine: Path, generation: Path) -> Sequence[Trial]:
        """Return commands that prove, within seconds, that the installed engine runs on this processor."""

    def program(self, release: EngineRelease, engine: Path) -> Path | None:
        """Return the program file of an installed engine; ``None`` where an interpreter runs it."""
        return None

    def asked_version(self, program: str, home: Path) -> Launch | None:
        """Return how a program of this engine's is asked for its version; ``None`` where that takes long.

        ``home`` is an empty directory that it may take for the user's.
        """
        return None

    def read_version(self, said: str) -> str | None:
        """Return the version in what a program printed when it was asked; ``None`` where that says none."""
        return None

    def said_version(self, engine: Path) -> str | None:
        """Return the version that a program said it has, by what its trials left there; ``None`` where it did not."""
        return None

    def why_unfit(self, selection: Selection, engine: Path) -> str:
        """Return what speaks against an engine that starts, by what its trials left there; empty where nothing does."""
        return ""

    @abstractmethod
    def launch(self, selection: Selection, place: Placement) -> Launch:
        """Return how the server is started."""

    def arrange(self, selection: Selection, place: Placement) -> None:
        """Make ready what the server finds in its own directory before it starts; idempotent."""

    def let_go(self, state: Path) -> None:
        """Remove the links into the store from the engine's own directory; no server of it is set up."""

    def why_not_arranged(self, selection: Selection, place: Placement) -> str:
        """Return what is missing or differs of what ``arrange`` made; empty where nothing is. Reads nothing large."""
        return ""

    def broken_promise(self, selection: Selection, ask: Callable[[str], bytes]) -> str:
        """Return what a server that has generated gives less of than was chosen; empty where all is as chosen.

        ``ask`` gets a path of the server and returns what it answers.
        """
        return ""

    def converted(self, model: Model) -> str | None:
        """Return the format that a model is turned into before this engine loads it; ``None`` where it is not."""
        return None

    def convert(self, engine: Path, model: Path, target: Path, generation: Path) -> Launch:
        """Return the command that turns ``model`` into the ``converted`` format at ``target``."""
        raise NotImplementedError

    def serves(self, listed: Sequence[object], name: str) -> bool:
        """Tell whether ``listed``, the names that the server lists, have the model."""
        return name in listed


def own_python(engine: Path) -> tuple[str, ...]:
    """Return how the interpreter of an engine's own environment is called.

    Neither the user's site-packages nor PYTHON* variables reach it, and the store is not written to.
    """
    return (str(engine / "bin" / "python"), "-I", "-B")


def program_beside(name: str) -> dict[str, str]:
    """Return a small program of ours, which lies beside this file, as a file of a launch."""
    return {name: Path(__file__).with_name(name).read_text(encoding="utf-8")}
