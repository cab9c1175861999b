"""The entries of ``fabric.lock``: chosen for this machine, or looked up again for another, and pinned file by file."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

from provision.app import Fabric
from provision.apply.pin import Pinning
from provision.apply.pull import Intake
from provision.artifacts.mirrors import choose_mirrors
from provision.artifacts.resolve import Newer
from provision.domain.engine import EngineRelease, Method
from provision.domain.frozen import frozen
from provision.domain.lock import LockedPlatform, every_wheel
from provision.domain.model import Model
from provision.domain.spec import Spec
from provision.domain.state import State
from provision.errors import FabricError, UnavailableError
from provision.select.sources import DEFAULT_METHODS

LOCKABLE = tuple(method for method in DEFAULT_METHODS if method is not Method.EXISTING)
_NO_NEXT_BEST = "A lock takes no next best: where that place is never reached, name another --source or --model."


@frozen
class LockEntries:
    """Makes entries for one wish; whoever uses it holds the lock of the prefix and clears its staging directory.

    ``newer`` are the releases that are taken instead of those that the data files name.
    """

    fabric: Fabric
    spec: Spec
    newer: Newer

    def here(self, state: State) -> LockedPlatform:
        """Choose anew, as on a machine where nothing is set up, and learn everything about what is chosen.

        Raises what ``Planner.resolve`` raises, and ``UnreachableError`` where something cannot be pinned.
        """
        fabric, install = self.fabric, self.spec.install
        wished = install.sources or tuple(each.value for each in LOCKABLE)
        sources = tuple(each for each in wished if each != Method.EXISTING.value)
        resolvable = replace(self.spec, install=replace(install, sources=sources))
        with _without_next_best():
            chosen = fabric.planner.resolve(resolvable, fabric.facts(), state.selection, self.newer)
        return self._pinned(chosen.release, chosen.model)

    def elsewhere(self, others: Mapping[str, LockedPlatform]) -> tuple[dict[str, LockedPlatform], dict[str, str]]:
        """Look the builds and models of other machines up again; return the entries, and why some stay as they were."""
        found, failed = dict(others), dict[str, str]()
        for name, locked in others.items():
            try:
                found[name] = self._pinned(*self.fabric.planner.choosing.again(self.spec, locked, self.newer))
            except FabricError as error:
                failed[name] = error.message
        return found, failed

    def _pinned(self, release: EngineRelease, model: Model) -> LockedPlatform:
        fabric = self.fabric
        intake = Intake(fabric.layout, fabric.env, fabric.progress, threading.Event(), self.spec.install.mirrors)
        fetcher = intake.prepare(every_wheel(release, model), 0, release.python)
        mirrors = choose_mirrors(self.spec.install.mirrors, fabric.env)
        tell_interpreter(release, fabric.progress.say)
        return Pinning(fetcher, fabric.layout.partial, fabric.progress, mirrors).pinned(release, model)


def tags_of(entries: Mapping[str, LockedPlatform]) -> dict[str, str]:
    """Return the newest release that entries hold of each repository: what a lock has reached it does not leave."""
    from provision.artifacts.releases import newest_tag

    found: dict[str, str] = {}
    for assets in (locked.release.assets for locked in entries.values()):
        if assets is not None:
            found[assets.repository] = newest_tag(assets.tag, found.get(assets.repository, assets.tag))
    return found


def tell_interpreter(release: EngineRelease, say: Callable[[str], None]) -> None:
    """Say aloud what a machine needs that is neither in the lock nor in a bundle."""
    if release.python:
        say(
            f"{release.engine} needs Python {release.python} on the machine where it is installed: neither the "
            "lock nor a bundle holds it"
        )


@contextmanager
def _without_next_best() -> Iterator[None]:
    """Say of a place that does not answer what can be locked without it: `up` would go on by itself."""
    try:
        yield
    except UnavailableError as error:
        if error.is_place:
            error.hint = " ".join(filter(None, (error.hint, _NO_NEXT_BEST)))
        raise
