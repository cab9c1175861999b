"""systemd's manager of this user as the one who keeps the server running.

Sources: systemctl(1), loginctl(1), systemd.unit(5).
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from provision.errors import FabricError
from provision.facts.services import user_runtime_dir
from provision.host.program import Command, CommandResult, run
from provision.plan.service_unit import STOP_S

TIMEOUT_S = 30.0
STOP_MARGIN_S = 15.0
_RUNNING = ("active", "activating", "reloading")


class Systemd:
    """The unit ``name``, whose file lies where the manager looks for it."""

    poll_s = 0.1
    restarts_within_s = 2.0  # RestartSec=1

    def __init__(self, name: str, env: Mapping[str, str]) -> None:
        self._name = name
        runtime_dir = user_runtime_dir(env, os.geteuid())
        self._env = {**env, "LC_ALL": "C", **({"XDG_RUNTIME_DIR": runtime_dir} if runtime_dir else {})}

    def start(self) -> None:
        self._must("daemon-reload")
        self._must("enable", self._name)
        self._systemctl("reset-failed", self._name)  # it may have been started too often, before it was mended
        self._must("start", self._name)

    def is_up(self) -> bool:
        return self._systemctl("is-active", self._name).stdout.strip() in _RUNNING

    def stop(self) -> None:
        """Where the manager does not answer, the supervisor is ended all the same, and does not ask to come back."""
        self._systemctl("disable", self._name)
        self._systemctl("stop", self._name, timeout_s=STOP_S + STOP_MARGIN_S)

    def forget(self) -> None:
        self._systemctl("daemon-reload")
        self._systemctl("reset-failed", self._name)

    def _must(self, *words: str) -> None:
        done = self._systemctl(*words)
        if done.returncode:
            raise FabricError(
                f"systemd did not {' '.join(words)}: {done.why}.",
                f"See `systemctl --user status {self._name}`, or use --service builtin.",
            )

    def _systemctl(self, *words: str, timeout_s: float = TIMEOUT_S) -> CommandResult:
        return run(Command(("systemctl", "--user", *words), timeout_s), self._env)


def set_linger(env: Mapping[str, str], *, on: bool) -> None:
    """Let the services of this user run while nobody is logged in, or not any more.

    Raises ``FabricError`` where systemd does not allow it.
    """
    verb = "enable-linger" if on else "disable-linger"
    done = run(Command(("loginctl", "--no-ask-password", verb), TIMEOUT_S), {**env, "LC_ALL": "C"})
    if done.returncode:
        raise FabricError(
            f"Lingering was not turned {'on' if on else 'off'}: {done.why}.",
            f"An administrator can: sudo loginctl {verb} $USER" + (", and then this command again." if on else "."),
        )
