"""What an earlier run left that counts for the next one."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import field

from provision.domain.engine import Method
from provision.domain.frozen import frozen
from provision.domain.lock import LockedPlatform
from provision.domain.model import Model
from provision.domain.selection import Selection
from provision.domain.spec import Spec
from provision.domain.state import State
from provision.select.sources import Tried


@frozen
class Before:
    """What of the state is used for one wish.

    ``served`` is what our own server serves. ``known`` is the same, unless all is to be chosen anew: what it was
    resolved to is not looked up again, and it is kept where the same is wished for and it still can run. ``locked`` is
    what a lock told of ``known``: it stays while the same is to be installed, wherever that lock is now. ``unfit`` are
    the releases that did not run on this machine; ``absent`` is what could not be had when ``known`` was chosen, which
    says nothing once that is not kept: a network comes back. ``models`` are those of the store by the wishes that led
    to them.
    """

    served: Selection | None = None
    known: Selection | None = None
    locked: tuple[LockedPlatform, ...] = ()
    unfit: Tried = field(default_factory=dict)
    absent: Tried = field(default_factory=dict)
    models: Mapping[str, Model] = field(default_factory=dict)

    def is_kept(self, selection: Selection | None) -> bool:
        """Tell whether a choice leaves engine and model as they are."""
        known = self.known
        return bool(selection and known and (selection.release, selection.model) == (known.release, known.model))


def recall(spec: Spec, state: State | None, *, refresh: bool, offline: bool) -> Before:
    """Return what counts for ``spec``. To ``refresh`` is to choose as if nothing were served and nothing had failed."""
    served = state.ours if state else None
    models = state.known_models if state and (offline or not refresh) else {}
    if state is None or refresh:
        return Before(served, models=models)
    known = served if served and not _is_gone(served) else None
    same = known is not None and known.spec == spec
    absent = {what: why for what, why in state.tried.items() if what not in state.unfit} if same else {}
    return Before(served, known, _locked(spec, known), state.unfit, absent, models)


def _locked(spec: Spec, known: Selection | None) -> tuple[LockedPlatform, ...]:
    if known is None or not known.locked or known.spec.deciding != spec.deciding:
        return ()
    return (LockedPlatform(known.release, known.model),)


def _is_gone(served: Selection) -> bool:
    """Tell whether the program of others that serves is not there any more."""
    release = served.release
    return release.method is Method.EXISTING and not os.access(release.path or "", os.X_OK)
