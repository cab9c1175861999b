"""All checks of one prefix, in the order in which they are shown."""

from __future__ import annotations

from collections.abc import Iterator

from provision.domain.security_check import Outcome, SecurityCheck
from provision.domain.selection import Selection
from provision.errors import FabricError
from provision.host.layout import Layout
from provision.security import dependencies, environment, foreign_pages, key_file, prefix, processes, sockets, versions
from provision.serve.observation import Server


def security_checks(layout: Layout, selection: Selection | None) -> Iterator[SecurityCheck]:
    """Yield every check; ``selection`` is what is set up, ``None`` where nothing is or that cannot be read."""
    yield from prefix.check(layout)
    yield key_file.check(layout)
    yield sockets.check_key(selection)
    try:
        runtime, listening = Server(layout, selection).runtime(), sockets.check(layout, selection)
    except FabricError as error:  # something else has the name of what the supervisor tells
        runtime, listening = None, SecurityCheck(sockets.CODE, Outcome.UNKNOWN, error.message)
    yield listening
    yield from foreign_pages.check(layout, selection)
    yield versions.check(selection)
    yield dependencies.check()
    yield environment.check(layout, runtime)
    yield from processes.check(runtime)
