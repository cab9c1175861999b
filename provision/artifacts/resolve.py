"""From what was chosen to files that can be fetched: the looking up that needs the network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from provision.domain.engine import EngineRelease
from provision.domain.model import Model
from provision.domain.selection import Selection
from provision.errors import UnavailableError


@dataclass(frozen=True)
class Resolver:
    """Asks the places where releases and models come from, or the ``mirrors`` that stand in for them.

    ``offline`` forbids that.
    """

    env: Mapping[str, str]
    mirrors: Mapping[str, str]
    offline: bool = False

    def selection(self, selection: Selection) -> Selection:
        """Return ``selection`` with every file pinned. Raises ``UnavailableError`` for what cannot be had."""
        release, model = selection.release, selection.model
        return replace(
            selection,
            release=release if release.resolved else self.release(release),
            model=model if model.resolved else self.model(model),
        )

    def release(self, release: EngineRelease) -> EngineRelease:
        raise UnavailableError("github", "not yet")

    def model(self, model: Model) -> Model:
        raise UnavailableError(model.place, "not yet")

    def describe(self, reference: str) -> Model:
        """Return the model that a reference names: a file that is here, or what its place says of it."""
        from provision.artifacts.local_model import describe

        return describe(reference)
