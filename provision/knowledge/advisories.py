"""Security advisories of the engines, and which of them a version is subject to: ``profiles/advisories.yaml``."""

from __future__ import annotations

import re
from datetime import date
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from provision.domain.spec import EngineName
from provision.knowledge.load import load, refuse_twins
from provision.knowledge.versions import MOST_PARTS, numbers

Day = Annotated[str, Meta(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$", description="A day, such as 2026-11-22.")]


class Advisory(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One advisory. ``introduced`` and ``fixed_in`` are versions as the engine itself counts them.

    Without ``introduced`` every version up to ``fixed_in`` has it; without ``fixed_in`` no version is known to have it
    no more. ``needs`` is what has to be in use beside a server that somebody reaches.
    """

    id: Annotated[str, Meta(pattern=r"^(CVE-[0-9]{4}-[0-9]{4,}|GHSA(-[0-9a-z]{4}){3})$")]
    engine: EngineName
    summary: str
    source: Annotated[str, Meta(pattern="^https://")]
    introduced: str | None = None
    fixed_in: str | None = None
    severity: Literal["low", "medium", "high", "critical"] | None = None
    needs: str | None = None


class Advisories(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file. ``checked`` is the day on which its sources were last read.

    It is to be read again after ``stale_after_days``. ``versions`` are patterns, by engine, whose first group is what
    is compared of a version; what their second group finds makes it one from before that number was released.
    """

    version: int
    checked: Day
    stale_after_days: Annotated[int, Meta(gt=0)]
    versions: dict[EngineName, tuple[str, ...]]
    advisories: tuple[Advisory, ...]

    def __post_init__(self) -> None:
        """Refuse an advisory that stands twice, and a version that cannot be compared."""
        date.fromisoformat(self.checked)
        refuse_twins(f"{each.id} of {each.engine}" for each in self.advisories)
        for each in self.advisories:
            for version in (each.introduced, each.fixed_in):
                if version is not None and not self.comparable(each.engine, version):
                    raise ValueError(f"{each.id}: {version} is no version of {each.engine}")

    def of(self, engine: str, version: str | None) -> tuple[Advisory, ...]:
        """Return what a version of an engine is subject to; nothing where its version says nothing."""
        known = self.comparable(engine, version)
        return tuple(each for each in self.advisories if known and each.engine == engine and self._has(each, known))

    def age_days(self, today: date) -> int:
        """Return how long ago the sources were read."""
        return (today - date.fromisoformat(self.checked)).days

    def _has(self, advisory: Advisory, known: tuple[int, ...]) -> bool:
        since = self.comparable(advisory.engine, advisory.introduced)
        until = self.comparable(advisory.engine, advisory.fixed_in)
        return since[:-1] <= known[:-1] and (
            not until or known < until
        )  # the fault may be older than what has the number

    def comparable(self, engine: str, version: str | None) -> tuple[int, ...]:
        """Return what is compared of a version; ``()`` where it does not read like one of that engine.

        0.18 and 0.18.0 are the same. What is not released yet comes just before its number: the last part tells it.
        """
        matches = (re.fullmatch(pattern, version or "") for pattern in _patterns(self, engine))
        match = next(filter(None, matches), None)
        parts = numbers(match[1]) if match else ()
        if match is None or not any(parts):
            return ()
        is_early = match.re.groups > 1 and match[2] is not None
        return (*parts, *(0,) * (MOST_PARTS - len(parts)), -1 if is_early else 0)


def _patterns(advisories: Advisories, engine: str) -> tuple[str, ...]:
    return next((patterns for name, patterns in advisories.versions.items() if name == engine), ())


def load_advisories() -> Advisories:
    """Return what is known."""
    advisories: Advisories = load("advisories", Advisories)
    return advisories


def advisories_of(engine: str, version: str | None) -> tuple[Advisory, ...]:
    """Return what a version of an engine is subject to, whatever has to be in use for it."""
    return load_advisories().of(engine, version)


def why_refused(engine: str, version: str | None) -> str:
    """Return why a version must not serve, as of ``it``; empty where nothing is known against it.

    What only counts with something else in use is no reason: fabric sets none of that up.
    """
    known = load_advisories()
    found = [each for each in known.of(engine, version) if each.needs is None]
    if not found:
        return ""
    holes = f"has known security holes ({', '.join(each.id for each in found)})"
    mended = [each.fixed_in for each in found if each.fixed_in]
    if len(mended) < len(found):
        return f"{holes}, and no version without them is known"
    return f"{holes}, {max(mended, key=lambda each: known.comparable(engine, each))} and later have not"
