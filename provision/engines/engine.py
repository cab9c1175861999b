"""What every engine tells about itself. Adding one is one file with this shape, and its releases in profiles/."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from provision.domain.engine import EngineRelease, Failure, Launch
from provision.domain.selection import Selection


@dataclass(frozen=True)
class Placement:
    """Where the parts of one server lie: absolute paths."""

    engine: Path
    model: Path
    generation: Path
    api_key: Path | None


class Engine(Protocol):
    """One inference server program."""

    name: str

    def releases(self) -> Sequence[EngineRelease]:
        """Return what can be installed, best first."""

    def failures(self) -> Sequence[Failure]:
        """Return the known failure signatures, first match wins."""

    def preflight(self, engine: Path, generation: Path) -> Launch:
        """Return a command that proves, within seconds, that the installed engine runs on this processor."""

    def launch(self, selection: Selection, place: Placement) -> Launch:
        """Return how the server is started."""
