"""What the running server could leave behind or gain."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from provision.domain.security_check import Outcome, SecurityCheck
from provision.domain.server import Runtime
from provision.host import process
from provision.host.confinement import Confinement, confinement_of

CORES, PRIVILEGES = "core-dumps", "no-new-privileges"
_FIX = "fabric down && fabric up"


def check(runtime: Runtime | None) -> Iterator[SecurityCheck]:
    """Look at every process of the server."""
    running = runtime is not None and process.is_running(runtime.supervisor)
    seen = [confinement_of(pid) for pid in process.tree(runtime.supervisor.pid)] if runtime and running else []
    yield from judge([each for each in seen if each is not None])


def judge(seen: Iterable[Confinement]) -> Iterator[SecurityCheck]:
    """Yield a check for each promise; unknown where no process could be looked at."""
    every = list(seen)
    if not every:
        for code in (CORES, PRIVILEGES):
            yield SecurityCheck(code, Outcome.UNKNOWN, "no server runs, or its processes cannot be looked at")
        return
    dumping = [each.pid for each in every if each.dumps_core]
    gaining = [each.pid for each in every if not each.no_new_privileges]
    yield _check(CORES, dumping, "may leave a core dump, with prompts and the key in it", "leaves a core dump")
    yield _check(PRIVILEGES, gaining, "may gain privileges by a set-user-id program", "can gain privileges")


def _check(code: str, pids: list[int], bad: str, good: str) -> SecurityCheck:
    if pids:
        return SecurityCheck(code, Outcome.FAILED, f"process {', '.join(map(str, pids))} {bad}", _FIX)
    return SecurityCheck(code, Outcome.OK, f"no process of the server {good}")
