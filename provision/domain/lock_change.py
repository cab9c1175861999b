"""What became of one entry of ``fabric.lock``."""

from __future__ import annotations

from collections.abc import Mapping

from provision.domain.frozen import frozen
from provision.domain.lock import LockedPlatform, content


@frozen
class LockChange:
    """One entry as it was and as it is; ``None`` where it was not there, or is not any more."""

    before: LockedPlatform | None
    after: LockedPlatform | None

    @property
    def action(self) -> str:
        """What happened to it: create, update, delete or none."""
        if self.before is None or self.after is None:
            return "create" if self.after else "delete"
        return "none" if self.before == self.after else "update"

    @property
    def fetch_bytes(self) -> int:
        """What a machine fetches that has all that stood there before."""
        had = content(self.before) if self.before else {}
        files = content(self.after) if self.after else {}
        return sum(file.size_bytes or 0 for sha256, file in files.items() if sha256 not in had)


def lock_changes(before: Mapping[str, LockedPlatform], after: Mapping[str, LockedPlatform]) -> dict[str, LockChange]:
    """Return what became of each entry, by the name of its kind of machine, sorted."""
    return {name: LockChange(before.get(name), after.get(name)) for name in sorted({*before, *after})}
