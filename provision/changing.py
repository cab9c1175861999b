"""The frame of every change: alone in the prefix, after clearing what a killed run left."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress

from provision.app import Fabric
from provision.apply.parents import make_prefix
from provision.apply.prefix_check import check_prefix
from provision.apply.state import open_prefix
from provision.domain.state import State

LOCK_WAIT_S = 900.0


@contextmanager
def changing(fabric: Fabric, doing: str) -> Iterator[State]:
    """Hold the lock on behalf of ``fabric DOING``, clear what a killed run left, and give the state."""
    from provision.apply.journal import recover
    from provision.apply.trash import settle
    from provision.serve.control import lead_to

    check_prefix(fabric.layout)
    with locked(fabric, doing):
        state = open_prefix(fabric.layout, take_over=fabric.take_over)
        interrupted = recover(fabric.layout)
        settle(fabric.layout)
        if fabric.layout.generation(state.generation).is_dir():
            with suppress(OSError):  # what the disk refuses now is put right by the next
                lead_to(fabric.layout, state.generation)
        if interrupted:
            fabric.progress.say(
                f"`fabric {interrupted.verb}` (process {interrupted.pid}) was interrupted at "
                f"'{interrupted.step}'. Going on from what it finished."
            )
        yield state


def locked(fabric: Fabric, doing: str) -> AbstractContextManager[None]:
    """Hold the lock of the prefix; whoever has to wait is told for whom."""
    from provision.host.lock import exclusive

    layout, telling = fabric.layout, _telling(fabric, doing)
    return exclusive(
        layout.lock, layout.lock_holder, doing, LOCK_WAIT_S, telling, make_place=lambda _: make_prefix(layout)
    )


def looking(fabric: Fabric, doing: str) -> AbstractContextManager[None]:
    """Keep others from changing the prefix on behalf of ``fabric DOING``, which only looks at it."""
    from provision.host.lock import shared

    return shared(fabric.layout.lock, fabric.layout.lock_holder, doing, LOCK_WAIT_S, _telling(fabric, doing))


def _telling(fabric: Fabric, doing: str) -> Callable[[str], None]:
    waiting = f"Waiting, because {{}} is at work here; `fabric {doing}` goes on when it is done"
    return lambda who: fabric.progress.say(waiting.format(who))
