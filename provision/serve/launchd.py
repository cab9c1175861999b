"""macOS' launchd as the one who keeps the server running while its user is logged in.

Sources: launchctl(1), launchd.plist(5).
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping

from provision.errors import FabricError
from provision.host.program import Command, CommandResult, run
from provision.plan.service_unit import STOP_S

TIMEOUT_S = 30.0
STOP_MARGIN_S = 15.0


class Launchd:
    """The agent with this ``label``, which the file at ``path`` describes."""

    poll_s = 0.1
    restarts_within_s = 12.0  # launchd.plist(5): no more often than every ten seconds

    def __init__(self, label: str, path: str, env: Mapping[str, str]) -> None:
        self._path, self._env = path, {**env, "LC_ALL": "C"}
        self._domain = f"gui/{os.getuid()}"
        self._service = f"{self._domain}/{label}"

    def start(self) -> None:
        """An agent that is loaded already keeps what stood in its file before: it is unloaded first."""
        self._bootout()
        self._must("enable", self._service)
        self._must("bootstrap", self._domain, self._path)
        self._must("kickstart", self._service)

    def is_up(self) -> bool:
        return self._launchctl("print", self._service).returncode == 0

    def stop(self) -> None:
        """Unloaded alone, it would come back with the next login."""
        self._bootout()
        self._launchctl("disable", self._service)

    def forget(self) -> None:
        """Launchd remembers by its name who was disabled."""
        self._launchctl("enable", self._service)

    def _bootout(self) -> None:
        """It may be said to be unloaded while it is still ending, and cannot be loaded again until it has."""
        limit_s = STOP_S + STOP_MARGIN_S
        self._launchctl("bootout", self._service, timeout_s=limit_s)
        deadline = time.monotonic() + limit_s
        while self.is_up() and time.monotonic() < deadline:
            time.sleep(self.poll_s)

    def _must(self, *words: str) -> None:
        done = self._launchctl(*words)
        if done.returncode:
            raise FabricError(
                f"launchd did not {words[0]} the server: {done.why}.",
                "It keeps services of who is logged in at the screen. Log in there, or use --service builtin.",
            )

    def _launchctl(self, *words: str, timeout_s: float = TIMEOUT_S) -> CommandResult:
        return run(Command(("launchctl", *words), timeout_s), self._env)
