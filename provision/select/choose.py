"""The choice: a pure function of facts, spec and data. It says why, and why not the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field, replace

from provision.domain.choice import Alternative, Recommendation
from provision.domain.engine import EngineRelease, Method
from provision.domain.facts import Cpu, Facts
from provision.domain.frozen import frozen
from provision.domain.gpu import Gpu
from provision.domain.lock import LOCK_FILE, LockedPlatform
from provision.domain.model import Model
from provision.domain.selection import Selection
from provision.domain.spec import AUTO, Spec
from provision.errors import FabricError
from provision.select.candidates import Candidate, candidates
from provision.select.devices import device_keys, device_names
from provision.select.explain import fit_line, not_heeded, why_recommended, why_selected
from provision.select.knowledge import Knowledge
from provision.select.offer import Offer, Wanted, offer_model
from provision.select.refusal import NATIVE, TRANSLATED, Against, Judged, distance, narrowed, why_not_locked
from provision.select.sources import Tried, Way, locked_ways, way_of, ways


class CannotRunError(FabricError):
    """What was asked for cannot run on this machine. ``choice`` holds what was weighed, once it is made."""

    code = "cannot-run"
    choice: Choice | None = None


@frozen
class Choice:
    """What suits the machine best, what of it this version of fabric brings about, and what else was weighed.

    Exactly one of ``selection`` and ``refusal`` is there.
    """

    recommended: Recommendation | None
    alternatives: tuple[Alternative, ...]
    selection: Selection | None = None
    refusal: CannotRunError | None = None


@frozen
class Chooser:
    """One choice. ``wanted`` is the model that was asked for, ``None`` for any that suits.

    ``port`` has been found to be free or ours. ``tried`` are releases, references and places (``github``, ``hf``)
    that failed here, with the reason; they are not chosen again. What is served already, the ``previous`` choice, is
    kept as long as the same is wished for and it can still run: free memory changes from minute to minute, and a
    second run shall change nothing. A library that was provided to its engine stays provided. Where ``locked`` is
    given, only its releases are installed, each with its own model; ``holder`` is what people call it.
    """

    spec: Spec
    facts: Facts
    wanted: Wanted
    knowledge: Knowledge
    port: int
    previous: Selection | None = None
    tried: Tried = field(default_factory=dict)
    locked: tuple[LockedPlatform, ...] = ()
    holder: str = LOCK_FILE

    def choose(self) -> Choice:
        """Choose engine, acceleration, devices, model, context and threads.

        Raises ``UsageError`` for a context that the model cannot have.
        """
        pinned = locked_ways(self.knowledge, self.locked, self.tried)
        known = (*pinned, *map(Way, self.knowledge.builds))
        open_ways = (*self._kept_way(), *ways(self.knowledge, self.spec, self.facts, self.tried))
        ways_here = known if self.locked else open_ways
        listed = candidates(self.spec, self.facts, self.knowledge, ways_here)
        judged = self._judge(listed)
        best = next((pair for pair in judged if not pair[1].reason), None)
        recommended = self._recommend(*best, listed) if best else None
        alternatives = tuple(self._alternative(*pair) for pair in judged if pair is not best)
        only = candidates(self.spec, self.facts, self.knowledge, pinned) if self.locked else listed
        installed, misses = self._install(only)
        if installed is None:
            refusal = (
                CannotRunError(*why_not_locked(self.holder, self.locked, only, misses, self.tried))
                if self.locked
                else self._refuse(judged, misses)
            )
            return Choice(recommended, alternatives, refusal=refusal)
        chosen, offer = installed
        selection = self._select(chosen, offer)
        why, why_not = why_selected(selection, self.facts, chosen), self._against.others(chosen, judged, recommended)
        unheeded = self.knowledge.engines[chosen.engine].unheeded
        why = (*why, *not_heeded(self.spec, unheeded, f"{chosen.engine} has no such setting"))
        return Choice(recommended, alternatives, replace(selection, why=why, why_not=why_not))

    @property
    def _against(self) -> Against:
        return Against(self.spec, self.knowledge, self.tried, self.holder if self.locked else None)

    def _judge(self, listed: Sequence[Candidate]) -> list[Judged]:
        """Look for a model for each candidate until there is one; what comes later is weighed by its hardware alone."""
        judged: list[Judged] = []
        found = False
        for candidate in listed:
            offer = Offer(reason=candidate.reason)
            if not candidate.reason and not found:
                wanted = self._wanted_of(candidate)
                offer = offer_model(candidate, self.spec, self.facts, wanted, self.knowledge, tried={})
                found = not offer.reason
            judged.append((candidate, offer))
        return judged

    def _recommend(self, candidate: Candidate, offer: Offer, listed: Sequence[Candidate]) -> Recommendation:
        if offer.model is None or offer.fit is None:
            raise AssertionError("an offer without a reason has a model and a fit")
        later = listed[listed.index(candidate) + 1 :]
        runner_up = next((each for each in later if not each.reason and each.engine != candidate.engine), None)
        return Recommendation(
            profile=candidate.profile.name,
            backend=candidate.engine,
            acceleration=candidate.acceleration,
            build=candidate.build.name if candidate.build else "",
            devices=device_names(candidate.devices, offer.devices),
            model=offer.model,
            fit=offer.fit,
            installable=candidate.release is not None,
            why=why_recommended(candidate, offer, runner_up, self._unused()),
            obstacle=None if candidate.release else self._against.build(candidate),
            advice=candidate.profile.advice,
        )

    def _unused(self) -> list[Gpu]:
        """Return the GPUs that could do more than they may: what is mended there might change the choice."""
        return [gpu for gpu in self.facts.gpus if gpu.integrated is not True and (gpu.masked or gpu.obstacle)]

    def _alternative(self, candidate: Candidate, offer: Offer) -> Alternative:
        profile, engine = candidate.profile, candidate.engine
        return Alternative(profile.name, engine, candidate.acceleration, offer.reason, distance(candidate, offer))

    def _install(self, listed: Sequence[Candidate]) -> tuple[Judged | None, list[Offer]]:
        """Return the first that can be installed with a model that can be fetched, and what was in the way."""
        misses: list[Offer] = []
        if self.facts.os.translated:
            return None, [Offer(reason=TRANSLATED, hint=NATIVE)]
        kept = self._kept(listed)
        if kept is not None:
            return kept, misses
        for candidate in listed:
            if candidate.release is None or candidate.reason:
                continue
            wanted = self._wanted_of(candidate)
            offer = offer_model(candidate, self.spec, self.facts, wanted, self.knowledge, tried=self.tried)
            if not offer.reason:
                return (candidate, offer), misses
            misses.append(offer)
        return None, misses

    def _kept_way(self) -> tuple[Way, ...]:
        """Return the way to what is served now, where the same is wished for: it comes before all others."""
        previous = self.previous
        if previous is None or previous.spec != self.spec or previous.release.name in self.tried:
            return ()
        return (way_of(previous.release, self.knowledge.builds),)

    def _kept(self, listed: Sequence[Candidate]) -> Judged | None:
        """Return what is served now, where the same is wished for and it still runs here."""
        previous = self.previous
        if previous is None or previous.spec != self.spec or previous.model.reference in self.tried:
            return None
        same = (each for each in listed if not each.reason and each.release and self._is_same(each.release, previous))
        candidate = next(same, None)
        wanted = self._wanted_of(candidate) if candidate else None
        if candidate is None or (isinstance(wanted, Model) and wanted != previous.model):
            return None
        if not set(previous.devices) <= device_keys(candidate.devices):
            return None
        return replace(candidate, release=previous.release), Offer(
            previous.model, previous.fit, devices=previous.devices
        )

    def _is_same(self, release: EngineRelease, previous: Selection) -> bool:
        """Tell whether a release is what is served; of a lock it has to be that in every file."""
        return release == previous.release if self.locked else release.is_same(previous.release)

    def _wanted_of(self, candidate: Candidate) -> Wanted:
        """Return the model that was asked for, or the one that the lock has for this release."""
        return next((each.model for each in self.locked if each.release is candidate.release), self.wanted)

    def _select(self, candidate: Candidate, offer: Offer) -> Selection:
        release, spec, serving = candidate.release, self.spec, self.knowledge.serving
        if release is None or offer.model is None or offer.fit is None:
            raise AssertionError("only what has a release and a model is installed")
        rule, libraries = serving.threads, self.facts.libraries
        kept: tuple[str, ...] = ()
        if self.previous is not None and release.is_same(self.previous.release):
            kept = self.previous.provided_libraries
            release = self.previous.release if release.method is Method.EXISTING else release  # its version is known
        provided = tuple(lib.name for lib in release.libraries if lib.name in kept or not libraries.get(lib.name))
        return Selection(
            spec=spec,
            backend=release.engine,
            acceleration=release.acceleration,
            release=release,
            provided_libraries=provided,
            model=offer.model,
            context=offer.fit.context_length,
            parallel=spec.parallel,
            threads=spec.threads or max(1, default_threads(self.facts.cpu) * rule.per_core),
            spin_count=rule.spin_count,
            host=spec.host,
            port=self.port,
            fit=offer.fit,
            devices=offer.devices,
            locked=bool(self.locked),
        )

    def _refuse(self, judged: Sequence[Judged], misses: Sequence[Offer]) -> CannotRunError:
        """Say why nothing is installed, and the nearest thing that can be."""
        if misses:
            best = next((offer for _, offer in judged if offer.fit is not None and not offer.reason), None)
            would = f" Its memory would do: {fit_line(best.fit)}." if best and best.fit and self.wanted else ""
            return CannotRunError(f"It cannot be served here: {misses[0].reason.rstrip('.')}.{would}", misses[0].hint)
        backends = dict.fromkeys(candidate.engine for candidate, _ in judged) or {self.spec.backend: None}
        told = "; ".join(f"{backend}: {self._against.engine(backend, judged)}" for backend in backends)
        asked = narrowed(self.spec)
        return CannotRunError(
            f"Nothing that fabric can install runs here{f' with {asked}' if asked else ''}. {told.rstrip('.')}.",
            self._nearest(asked),
        )

    def _nearest(self, asked: str) -> str:
        relaxed = replace(self.spec, backend=AUTO, acceleration=AUTO, profile=AUTO, require_gpu=False)
        near = replace(self, spec=relaxed).choose().selection if asked else None
        if near is not None:
            return f"What can run here: {near.backend} on {near.acceleration}. Leave {asked} out."
        return "`fabric doctor` shows what was found out about this machine."


def default_threads(cpu: Cpu) -> int:
    """Return one thread for each fast core that may be used: a core's second thread waits for the same memory."""
    usable = cpu.cores_usable or 1
    return min(usable, cpu.cores_performance or cpu.cores_physical or usable)
