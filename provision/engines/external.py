"""A server that somebody else runs: asked, never started, stopped or changed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from provision.domain.engine import EngineRelease, Failure, Health, Launch, Trial
from provision.domain.ollama_name import names_match
from provision.domain.selection import Selection
from provision.domain.spec import EXTERNAL
from provision.engines.engine import Engine, Placement


class External(Engine):
    """See ``Engine``. Nothing of it is installed, so most of that has no meaning here."""

    name = EXTERNAL
    health = Health("/v1/models", loading=(503,))

    def releases(self) -> Sequence[EngineRelease]:
        return ()

    def failures(self) -> Sequence[Failure]:
        return ()

    def preflight(self, release: EngineRelease, engine: Path, generation: Path) -> Sequence[Trial]:
        return ()

    def launch(self, selection: Selection, place: Placement) -> Launch:
        return Launch((), {})

    def serves(self, listed: Sequence[object], name: str) -> bool:
        return any(isinstance(each, str) and (each == name or names_match(each, name)) for each in listed)
