"""What differs between the service that is wanted and the one that is there. Pure."""

from __future__ import annotations

import hashlib
from pathlib import Path

from provision.domain.frozen import frozen
from provision.domain.plan import Action, Change, Kind
from provision.domain.spec import BUILTIN
from provision.domain.state import ServiceUnit
from provision.plan.service_unit import Unit, enabling_link
from provision.plan.text_diff import unified


@frozen
class SeenUnit:
    """What is there of a service, beside what should be.

    ``wanted`` is the file that should be there, and ``record`` what was told to a service manager before; ``text`` is
    what stands in the one, or, where no service is wanted, in the other. ``enabled`` says whether the service starts by
    itself, ``lingers`` whether the services of this user outlive the login; ``None`` where that is not known.
    ``lingering`` says whether they shall.
    """

    wanted: Unit | None = None
    record: ServiceUnit | None = None
    text: str | None = None
    enabled: bool | None = None
    lingers: bool | None = None
    lingering: bool = False

    @property
    def recorded(self) -> ServiceUnit | None:
        """The record, where it is about the file that is wanted."""
        same = self.record is not None and self.wanted is not None and self.record.path == str(self.wanted.path)
        return self.record if same else None

    @property
    def was_edited(self) -> bool:
        """Whether somebody else wrote what stands in the file that is wanted."""
        if self.text is None or (self.wanted is not None and self.text == self.wanted.text):
            return False
        known = self.recorded.known if self.recorded else ()
        return hashlib.sha256(self.text.encode()).hexdigest() not in known


def service_change(seen: SeenUnit, *, is_up: bool) -> tuple[Change, ...]:
    """Return what makes the service as it should be; nothing where none is wanted and none is there.

    ``is_up`` says whether the server runs: where it was stopped, its service is not enabled, and shall not be.
    """
    if seen.wanted is None:
        if seen.record is None:
            return ()
        return (_change(Action.DELETE, f"{seen.record.service} → {BUILTIN}", seen, seen.record.name),)
    action, reason = _needed(seen, seen.wanted, is_up=is_up)
    return (_change(action, reason, seen, seen.wanted.name),)


def _change(action: Action, reason: str, seen: SeenUnit, name: str) -> Change:
    """Return the change with what it may touch outside of the prefix, and the difference that it makes to the file."""
    if action is Action.NONE:
        return Change(action, Kind.SERVICE, name, reason)
    files = [Path(seen.record.path)] if seen.record else []
    files += [seen.wanted.path] if seen.wanted and seen.wanted.path not in files else []
    paths = [str(path) for file in files for path in (file, enabling_link(file))]
    diff = unified(seen.text or "", seen.wanted.text if seen.wanted else "", name)
    return Change(action, Kind.SERVICE, name, reason, paths=tuple(paths), diff=diff)


def _needed(seen: SeenUnit, wanted: Unit, *, is_up: bool) -> tuple[Action, str]:
    if seen.record is not None and seen.recorded is None:
        return Action.REPLACE, f"{seen.record.service} → {wanted.service}, {wanted.path}"
    if seen.text is None:
        gone = "is gone" if seen.recorded else "is to be made"
        return Action.CREATE, f"{wanted.path} {gone}"
    if seen.was_edited:
        return Action.UPDATE, f"{wanted.path} was written by somebody else; what stands there is kept beside it"
    if seen.text != wanted.text or seen.recorded is None:
        return Action.UPDATE, f"{wanted.path} is to be written anew"
    if is_up and seen.enabled is False:
        return Action.UPDATE, "it does not start by itself: somebody has disabled it"
    if seen.lingering and seen.lingers is False:
        return Action.UPDATE, "it shall run while nobody is logged in: lingering is off"
    if not seen.lingering and seen.recorded.lingers:
        return Action.UPDATE, "it shall not run while nobody is logged in any more"
    return Action.NONE, f"{wanted.service} keeps the server running"
