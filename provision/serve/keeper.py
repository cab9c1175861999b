"""Who starts the supervisor of a server, and starts it again where it was killed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from provision.domain.spec import LAUNCHD, SYSTEMD
from provision.domain.state import ServiceUnit
from provision.host import process
from provision.host.layout import Layout
from provision.plan.service_unit import supervisor_argv
from provision.serve.environment import child_environment


class Keeper(Protocol):
    """One way to keep a supervisor running. What it says and how it ends is the same in every way."""

    poll_s: float  # how often it may be asked whether the supervisor is up
    restarts_within_s: float  # how soon it starts another one in place of one that was killed; 0 for never

    def start(self) -> None:
        """Start the supervisor, now and whenever it shall run. Raises ``FabricError`` where that cannot be."""

    def is_up(self) -> bool:
        """Tell whether the supervisor that was started is still there."""

    def stop(self) -> None:
        """See to it that nobody starts the supervisor again before ``start``; it may still be running afterwards."""

    def forget(self) -> None:
        """Let go of a service whose file was removed."""


class Builtin:
    """fabric itself starts the supervisor, in a session of its own; nobody starts it again."""

    poll_s = 0.01
    restarts_within_s = 0.0

    def __init__(self, layout: Layout, env: Mapping[str, str]) -> None:
        self._layout, self._env = layout, env
        self._pid = 0

    def start(self) -> None:
        env = child_environment(self._layout, self._env)
        argv = supervisor_argv(self._layout.prefix)
        self._pid = process.start_detached(argv, env, self._layout.supervisor_log, self._layout.prefix)

    def is_up(self) -> bool:
        return process.identify(self._pid) is not None

    def stop(self) -> None:
        """There is nobody else."""

    def forget(self) -> None:
        """There is no service."""


def keeper_of(unit: ServiceUnit | None, layout: Layout, env: Mapping[str, str]) -> Keeper:
    """Return who keeps the server of this prefix running; ``unit`` is what was told to a service manager."""
    if unit is not None and unit.service == SYSTEMD:
        from provision.serve.systemd import Systemd

        return Systemd(unit.name, env)
    if unit is not None and unit.service == LAUNCHD:
        from provision.serve.launchd import Launchd

        return Launchd(unit.name, unit.path, env)
    return Builtin(layout, env)
