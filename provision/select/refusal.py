"""How far a candidate is from running, and why nothing of a lock does. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from provision.domain.lock import LOCK_FILE, LockedPlatform
from provision.domain.spec import Spec
from provision.select.candidates import Candidate, is_far
from provision.select.offer import Offer
from provision.select.sources import Tried

UNLED = {"external": "only where it is asked for: --backend external --base-url URL"}
TRANSLATED = "Rosetta translates this Python, and what it installs would be for Intel's processors"
NATIVE = "Run fabric with a Python for Apple silicon: arch -arm64 ./bootstrap.sh"
_PIN_ANEW = "`fabric lock` pins what runs here instead."


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
    locked: Sequence[LockedPlatform], only: Sequence[Candidate], misses: Sequence[Offer], tried: Tried
) -> tuple[str, str]:
    """Return what keeps each release of a lock from running here, and what helps.

    ``only`` are the candidates that it leaves, ``misses`` the models that do not fit.
    """
    told = []
    for release in (each.release for each in locked):
        kind = (release.engine, release.acceleration)
        own = [each for each in only if (each.engine, each.acceleration) == kind and each.reason]
        nearest = min(own, key=lambda each: distance(each, Offer(reason=each.reason)), default=None)
        why = tried.get(release.name) or (nearest.reason if nearest else "")
        told += [f"{release.name} {release.version}: {why}"] if why else []
    told += [offer.reason for offer in misses]
    message = f"What {LOCK_FILE} holds for this kind of machine does not run here. {'; '.join(told)}."
    return message, next((offer.hint for offer in misses if offer.hint), _PIN_ANEW)
