"""What every engine tells about itself. Adding one is one file with this shape, and its releases in profiles/."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from provision.domain.engine import EngineRelease, Failure, Health, Launch
from provision.domain.selection import Selection
from provision.host.loopback import LoopbackClient
from provision.knowledge.engine_files import load_engine_file


@dataclass(frozen=True)
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
    def preflight(self, release: EngineRelease, engine: Path, generation: Path) -> Launch:
        """Return a command that proves, within seconds, that the installed engine runs on this processor."""

    def why_unfit(self, release: EngineRelease, output: str) -> str:
        """Return what in the output of a preflight that succeeded speaks against this release; empty where nothing."""
        return ""

    @abstractmethod
    def launch(self, selection: Selection, place: Placement) -> Launch:
        """Return how the server is started."""

    def settle(self, client: LoopbackClient, selection: Selection, place: Placement) -> None:
        """Do what has to be done once the server answers, before it can serve the model; idempotent."""

    def serves(self, listed: Sequence[object], name: str) -> bool:
        """Tell whether ``listed``, the names that the server lists, have the model."""
        return name in listed
