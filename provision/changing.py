"""The frame of every change: alone in the prefix, after clearing what a killed run left."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

from provision.app import Fabric
from provision.apply.state import check_prefix, open_prefix
from provision.domain.state import State

LOCK_WAIT_S = 900.0


@contextmanager
def changing(fabric: Fabric, doing: str) -> Iterator[State]:
    """Hold the lock on behalf of ``fabric DOING``, clear what a killed run left, and give the state."""
    from provision.apply.journal import recover

    check_prefix(fabric.layout)
    made = fabric.layout.missing_parents()
    with locked(fabric, doing):
        state = open_prefix(fabric.layout, made, take_over=fabric.take_over)
        interrupted = recover(fabric.layout)
        if interrupted:
            fabric.progress.say(
                f"`fabric {interrupted.verb}` (process {interrupted.pid}) was interrupted at "
                f"'{interrupted.step}'. Going on from what it finished."
            )
        yield state


def locked(fabric: Fabric, doing: str) -> AbstractContextManager[None]:
    """Hold the lock of the prefix; whoever has to wait is told for whom."""
    from provision.host.lock import exclusive

    waiting = f"Waiting, because {{}} is at work here; `fabric {doing}` goes on when it is done"
    return exclusive(
        fabric.layout.lock,
        fabric.layout.lock_holder,
        doing,
        LOCK_WAIT_S,
        lambda who: fabric.progress.say(waiting.format(who)),
    )
