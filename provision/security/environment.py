"""What the running server was given of an environment."""

from __future__ import annotations

import msgspec

from provision.domain.security_check import Outcome, SecurityCheck
from provision.domain.server import Runtime
from provision.errors import FabricError
from provision.host.environment import environment_of
from provision.host.layout import Layout
from provision.serve.environment import child_environment, server_environment
from provision.serve.server_file import read_server_file

CODE = "server-environment"
SHELLS_OWN = {"PWD", "OLDPWD", "SHLVL", "_"}  # a shell sets them by itself, where the engine's program is a script


def check(layout: Layout, runtime: Runtime | None) -> SecurityCheck:
    """Hold the variables of the server against those that fabric would give it. Names are told, and no value."""
    seen = environment_of(runtime.server.pid) if runtime and runtime.server else None
    if runtime is None or not seen:
        return SecurityCheck(CODE, Outcome.UNKNOWN, "no server runs, or its environment cannot be seen")
    try:
        server = read_server_file(layout, runtime.generation)
    except (OSError, FabricError, msgspec.MsgspecError):
        return SecurityCheck(CODE, Outcome.UNKNOWN, "what it was to be given is not recorded")
    given = server_environment(child_environment(layout, seen), server, runtime)
    return judge(seen.keys() - given.keys() - SHELLS_OWN, len(seen))


def judge(more: set[str], count: int) -> SecurityCheck:
    """Tell which variables are ``more`` than fabric gives, of ``count`` in all."""
    if more:
        said = f"it has variables that fabric does not give it: {', '.join(sorted(more))}"
        fix = "fabric down && fabric up; where they come back, the engine's own program sets them."
        return SecurityCheck(CODE, Outcome.FAILED, said, fix)
    said = f"it has {count} variables: of yours PATH, locale, time zone and what names GPUs at most"
    return SecurityCheck(CODE, Outcome.OK, said)
