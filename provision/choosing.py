"""From a wish to a choice that can be had: the pure choice, repeated around what the network does not give."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from provision.artifacts.resolve import Newer, Resolver
from provision.before import Before
from provision.domain.engine import EngineRelease
from provision.domain.facts import Facts
from provision.domain.frozen import frozen
from provision.domain.lock import LOCK_FILE, LockedPlatform, Pins
from provision.domain.model import Model
from provision.domain.selection import Selection
from provision.domain.spec import AUTO, ENGINE_NAMES, EXTERNAL, Spec
from provision.errors import InvalidInputError, UnavailableError, UsageError
from provision.knowledge.builds import load_builds
from provision.knowledge.engine_files import load_engine_file
from provision.knowledge.hardware import load_hardware
from provision.knowledge.models import load_catalog
from provision.knowledge.serving import load_serving
from provision.knowledge.sizing import load_sizing
from provision.select.catalog import described_now
from provision.select.check import check_spec
from provision.select.choose import Choice, Chooser
from provision.select.knowledge import Knowledge
from provision.select.offer import Wanted
from provision.select.sources import Tried, named_now


@frozen
class Choosing:
    """Chooses with what is known here, and looks up what is chosen; see ``Planner`` for the fields."""

    env: Mapping[str, str]
    offline: bool = False
    looks_up: bool = True
    own_models: Path | None = None

    @cached_property
    def knowledge(self) -> Knowledge:
        """Everything that a choice rests on, read once."""
        return read_knowledge(self.own_models)

    def check(self, spec: Spec) -> None:
        """Raise ``UsageError`` or ``InvalidInputError`` for a wish that nothing fulfils anywhere."""
        from provision.artifacts.mirrors import choose_mirrors

        check_spec(spec, self.knowledge.hardware)
        choose_mirrors(spec.install.mirrors, self.env)

    def here(self, chooser: Chooser, before: Before, pins: Pins) -> tuple[Choice, Tried]:
        """Choose among what is pinned, else among everything; return the choice, and what failed on the way."""
        machine, failed = chooser.facts.os, before.unfit
        locked = pins.of(machine.system, machine.arch) or before.locked
        if locked:
            pinned = self._among_locked(
                replace(chooser, locked=locked, holder=pins.holder, tried={} if pins.strict else failed)
            )
            if pinned.selection is not None or pins.strict:
                return pinned, failed
            failed = {**failed, LOCK_FILE: pinned.refusal.message if pinned.refusal else ""}
        known = (before.known,) if before.known else ()
        resolver = self._resolver(chooser.spec, *known, stored=before.models)
        chooser = replace(chooser, wanted=self._wanted(chooser.spec, resolver))
        if before.absent:
            with suppress(UnavailableError):  # what could not be had then may be there now
                choice, tried = self._until_had(chooser, resolver, {**failed, **before.absent})
                if before.is_kept(choice.selection):
                    return choice, tried
        return self._until_had(chooser, resolver, failed)

    def anew(self, chooser: Chooser, newer: Newer | None = None) -> Choice:
        """Choose as where nothing is set up, and take ``newer`` releases than those that are named.

        Raises ``UnavailableError`` where a place does not answer: the next best would tell nothing of other days.
        """
        resolver = replace(self._resolver(chooser.spec), newer=newer)
        chooser = replace(chooser, wanted=self._wanted(chooser.spec, resolver))
        return self._until_had(chooser, resolver, {}, needs_places=True)[0]

    def again(self, spec: Spec, locked: LockedPlatform, newer: Newer) -> tuple[EngineRelease, Model]:
        """Return the same build and model as they are to be had today, for a machine that is not here.

        Raises ``UnavailableError`` where a place does not answer or has them no more, ``InvalidInputError`` where the
        data files name that build no more.
        """
        resolver = replace(self._resolver(spec), newer=newer)
        release = named_now(self.knowledge, locked.release)
        if release is None:
            raise InvalidInputError(f"{locked.release.name} is not among the releases that this fabric installs.")
        model = described_now(locked.model, release.engine, self.knowledge.catalog)
        known = model.resolved and model is not locked.model
        return resolver.release(release), model if known else resolver.model(model)

    def anywhere(self, spec: Spec) -> Callable[[Facts], Choice]:
        """Return what tells for any machine what suits it, where nothing is set up yet."""
        self.check(spec)
        if spec.backend == EXTERNAL:
            raise UsageError(
                "What a server of somebody else's is, only asking it tells: that is no question of the machine.",
                "Leave --facts and --replay away, or --backend external.",
            )
        wanted = self._wanted(spec, self._resolver(spec))
        port = spec.port or self.knowledge.serving.port
        return lambda facts: Chooser(spec, facts, wanted, self.knowledge, port).choose()

    def _resolver(self, spec: Spec, *known: Selection, stored: Mapping[str, Model] | None = None) -> Resolver:
        return Resolver(self.env, spec.install.mirrors, self.offline, known, stored or {})

    def _among_locked(self, chooser: Chooser) -> Choice:
        """Choose among what a lock holds; only what an incomplete one lacks is looked up."""
        wanted = None if chooser.spec.model == AUTO else chooser.locked[0].model
        choice = replace(chooser, wanted=wanted).choose()
        if choice.selection is None or not self.looks_up:
            return choice
        return replace(choice, selection=self._resolver(chooser.spec).selection(choice.selection))

    def _until_had(
        self, chooser: Chooser, resolver: Resolver, tried: Tried, *, needs_places: bool = False
    ) -> tuple[Choice, Tried]:
        """Choose until what is chosen can be had; return the choice, and what has failed until then."""
        last = None
        while True:
            choice = replace(chooser, tried=tried).choose()
            if choice.selection is None and last is not None:
                raise last
            if choice.selection is None or not self.looks_up:
                return choice, tried
            try:
                return replace(choice, selection=resolver.selection(choice.selection)), tried
            except UnavailableError as error:
                if error.what in tried or (needs_places and error.is_place):
                    raise
                last, tried = error, {**tried, error.what: error.message}

    def _wanted(self, spec: Spec, resolver: Resolver) -> Wanted:
        from provision.select.catalog import find_model

        catalog = self.knowledge.catalog
        stored = resolver.models.get(spec.model)
        if stored is not None and all(row.name != spec.model for row in catalog.models):
            return stored  # by a name of the user's own, whose file is not here
        return find_model(spec.model, catalog, resolver.describe)


def read_knowledge(own_models: Path | None = None) -> Knowledge:
    """Read the data files that a choice rests on. Raises ``InvalidInputError`` for one that does not fit."""
    engines = {name: load_engine_file(name) for name in ENGINE_NAMES}
    return Knowledge(engines, load_serving(), load_hardware(), load_builds(), load_catalog(own_models), load_sizing())
