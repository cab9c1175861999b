"""What the supervisor reads: one file in the generation that says how to start the server and read its end."""

from __future__ import annotations

from dataclasses import dataclass

from provision.engines.engine import Failure

SERVER_FILE = "server.json"
INSTANCE_VARIABLE = "FABRIC_INSTANCE"
SUPERVISOR_VARIABLE = "FABRIC_SUPERVISOR"


@dataclass(frozen=True)
class ServerFile:
    """``argv`` and ``env`` of the server, the seconds it may take to stop, and its known failures."""

    argv: tuple[str, ...]
    env: dict[str, str]
    stop_grace_s: int
    failures: tuple[Failure, ...] = ()
