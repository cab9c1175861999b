"""Everything that a choice rests on besides the facts and the wish, as one value. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import cast

from provision.domain.engine import EngineRelease
from provision.knowledge.builds import Acceleration, Build, EngineName
from provision.knowledge.hardware import Hardware
from provision.knowledge.models import Catalog
from provision.knowledge.serving import Serving
from provision.knowledge.sizing import Sizing


@dataclass(frozen=True)
class Knowledge:
    """The data that a choice rests on.

    ``releases`` are the installable releases of every engine, ``not_yet`` the engines that this version cannot
    install, with the reason; ``known_builds`` are builds that others publish; ``serving`` is profiles/serving.yaml.
    """

    releases: Mapping[str, Sequence[EngineRelease]]
    not_yet: Mapping[str, str]
    serving: Serving
    hardware: Hardware
    known_builds: Sequence[Build]
    catalog: Catalog
    sizing: Sizing

    @cached_property
    def release_of(self) -> dict[str, EngineRelease]:
        """The installable releases, by the name of the build that each of them is."""
        return {_build_name(release): release for releases in self.releases.values() for release in releases}

    @cached_property
    def builds(self) -> tuple[Build, ...]:
        """All builds: those that can be installed first."""
        return (*(_as_build(name, release) for name, release in self.release_of.items()), *self.known_builds)


def _build_name(release: EngineRelease) -> str:
    return f"{release.source}-{release.system}-{release.arch}".lower()


def _as_build(name: str, release: EngineRelease) -> Build:
    return Build(
        engine=cast("EngineName", release.engine),
        name=name,
        acceleration=cast("Acceleration", release.acceleration),
        systems=(release.system,),
        archs=(release.arch,),
        formats=release.formats,
        source=f"{release.source} {release.version}",
        glibc=release.glibc,
        isa=release.isa,
        partial=release.acceleration != "cpu",
    )
