"""What the running server was given of an environment: the process that the supervisor has started."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from provision.domain.security_check import Outcome, SecurityCheck
from provision.domain.server import Runtime
from provision.errors import FabricError
from provision.host import process
from provision.host.environment import environment_of
from provision.host.layout import Layout
from provision.serve.environment import child_environment, kept_environment, server_environment
from provision.serve.server_file import read_server_file

CODE = "server-environment"
NOBODYS = {  # set by a shell, and on macOS by Python's own launcher and by the system
    *("PWD", "OLDPWD", "SHLVL", "_"),
    *("__PYVENV_LAUNCHER__", "__CF_USER_TEXT_ENCODING"),
}


def check(layout: Layout, runtime: Runtime | None) -> SecurityCheck:
    """Hold the variables of the server against those that fabric gives it. Names are told, and no value."""
    server = runtime.server if runtime else None
    seen = environment_of(server.pid) if server and process.is_running(server) else None
    if runtime is None or not seen or not process.is_running(server):  # else another process may have its number now
        return SecurityCheck(CODE, Outcome.UNKNOWN, "no server runs, or its environment cannot be seen")
    try:
        described, kept = read_server_file(layout, runtime.generation), kept_environment(layout)
    except (OSError, ValueError, FabricError, msgspec.MsgspecError):
        return SecurityCheck(CODE, Outcome.UNKNOWN, "what it was to be given is not recorded")
    passed = server_environment(kept, described, runtime)
    return judge(server_environment(child_environment(layout, kept), described, runtime), passed, seen)


def judge(right: Mapping[str, str], passed: Mapping[str, str], seen: Mapping[str, str]) -> SecurityCheck:
    """Compare what a server is to be given, what its supervisor passes, and what it was started with."""
    if wrong := _differing(right, passed):
        said = f"its supervisor passes on what it should not, or not what it should: {', '.join(wrong)}"
        return SecurityCheck(CODE, Outcome.FAILED, said, "fabric down && fabric up")
    if own := _differing(passed, seen):
        said = f"it was started with variables that fabric does not give it: {', '.join(own)}"
        fix = "fabric down && fabric up; where they come back, it is the engine's own program that sets them."
        return SecurityCheck(CODE, Outcome.WARNING, said, fix)
    said = f"it has {len(seen)} variables: of yours PATH, locale, time zone and what names GPUs at most"
    return SecurityCheck(CODE, Outcome.OK, said)


def _differing(one: Mapping[str, str], other: Mapping[str, str]) -> list[str]:
    """Return the names of variables that are not the same in both, but for those that nobody has chosen."""
    return sorted({name for name, _ in one.items() ^ other.items()} - NOBODYS)
