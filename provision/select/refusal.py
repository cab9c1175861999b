"""Why something else is not chosen, how far it is from running, and why nothing of a lock does. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from provision.domain.choice import Recommendation
from provision.domain.frozen import frozen
from provision.domain.lock import LockedPlatform
from provision.domain.spec import AUTO, BACKENDS, EXTERNAL, Spec
from provision.select.candidates import WITH_ENGINE, Candidate, is_far
from provision.select.knowledge import Knowledge
from provision.select.offer import Offer
from provision.select.sources import Tried, methods_of

Judged = tuple[Candidate, Offer]

TRANSLATED = "Rosetta translates this Python, and what it installs would be for Intel's processors"
NATIVE = "Run fabric with a Python for Apple silicon: arch -arm64 ./bootstrap.sh"
_PIN_ANEW = "`fabric lock` pins what runs here instead."


@frozen
class Against:
    """The reasons against what is not chosen; ``tried`` is what failed here, ``holder`` the lock that decides."""

    spec: Spec
    knowledge: Knowledge
    tried: Tried
    holder: str | None

    def others(self, chosen: Candidate, judged: Sequence[Judged], recommended: Recommendation | None) -> dict[str, str]:
        """Say for every other engine, and for the chosen one on what suits better, why it is not this."""
        told = {backend: self.engine(backend, judged) for backend in BACKENDS if backend not in (AUTO, chosen.engine)}
        if recommended and not recommended.installable and recommended.backend in told:
            reason = told[recommended.backend]
            told[recommended.backend] = f"recommended here, on {recommended.acceleration}, but {reason}"
        return told

    def engine(self, backend: str, judged: Sequence[Judged]) -> str:
        """Tell the reason of the nearest: one that would run, one that has a build, one for a GPU that is here."""
        own = [(candidate, offer) for candidate, offer in judged if candidate.engine == backend]
        runs = next((candidate for candidate, offer in own if not offer.reason), None)
        if runs is not None:
            return "it comes later" if runs.release else self.build(runs)
        nearest = min(own, key=lambda pair: distance(*pair), default=None)
        return nearest[1].reason if nearest else self._unled(backend)

    def _unled(self, backend: str) -> str:
        """Say why no rule leads to an engine."""
        asked_for = "only where it is asked for: --backend"
        if backend == EXTERNAL:
            return f"{asked_for} external --base-url URL"
        rules = self.knowledge.hardware.profiles
        waiting = [rule for rule in rules if rule.use == WITH_ENGINE and backend in rule.engines]
        if any(self.spec.acceleration in (AUTO, rule.acceleration) for rule in waiting):
            return f"{asked_for} {backend}"
        return "no rule leads to it as asked"

    def build(self, candidate: Candidate) -> str:
        """Say why what would run here is not installed: it was tried, it is not allowed, or nobody offers it."""
        if self.holder:
            return f"{self.holder} holds something else"
        name = candidate.build.name if candidate.build else candidate.acceleration
        methods = methods_of(self.spec)
        releases = self.knowledge.engines[candidate.engine].releases
        places = {release.place for release in releases if release.method in methods}
        failed = [why for what, why in self.tried.items() if what.startswith(f"{candidate.engine}/")]
        failed = failed or [f"it comes from {what}, too. {why}" for what, why in self.tried.items() if what in places]
        if failed:
            return failed[-1].rstrip(".")
        if self.spec.install.sources:
            return f"the build {name} comes from none of the sources {', '.join(self.spec.install.sources)}"
        return f"this version of fabric does not install the build {name} of {candidate.engine}"


def distance(candidate: Candidate, offer: Offer) -> int:
    """Return how far a candidate is from running, as ``Alternative.distance`` counts it."""
    if not offer.reason:
        return 0
    return 1 if candidate.build is not None else 3 if is_far(offer.reason) else 2


def narrowed(spec: Spec) -> str:
    """Return the options that leave fewer ways than there are."""
    kept = Spec(
        backend=spec.backend, acceleration=spec.acceleration, profile=spec.profile, require_gpu=spec.require_gpu
    )
    return " ".join(kept.options())


def why_not_locked(
    holder: str, locked: Sequence[LockedPlatform], only: Sequence[Candidate], misses: Sequence[Offer], tried: Tried
) -> tuple[str, str]:
    """Return what keeps each release of a lock from running here, and what helps.

    ``holder`` is what people call the lock, ``only`` are the candidates that it leaves, ``misses`` the models that
    do not fit.
    """
    told = []
    for release in (each.release for each in locked):
        kind = (release.engine, release.acceleration)
        own = [each for each in only if (each.engine, each.acceleration) == kind and each.reason]
        nearest = min(own, key=lambda each: distance(each, Offer(reason=each.reason)), default=None)
        why = tried.get(release.name) or (nearest.reason if nearest else "")
        told += [f"{release.name} {release.version}: {why}"] if why else []
    told += [offer.reason for offer in misses]
    message = f"What {holder} holds for this kind of machine does not run here. {'; '.join(told).rstrip('.')}."
    return message, next((offer.hint for offer in misses if offer.hint), _PIN_ANEW)
