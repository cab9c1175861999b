"""Starting and stopping the server of one prefix."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress

from provision.domain.server import INSTANCE_VARIABLE, ProcessIdentity, Runtime, ServerState
from provision.errors import FabricError
from provision.host import children, process, shared_memory
from provision.host.files import commit, explained, make_private_dir, point
from provision.host.layout import Layout
from provision.host.process_search import with_arguments, with_environment
from provision.host.reading import read_bytes
from provision.plan.service_unit import supervisor_argv
from provision.serve.environment import keep_environment
from provision.serve.keeper import Keeper
from provision.serve.runtime import read_runtime

SPAWN_TIMEOUT_S = 20.0
STOP_MARGIN_S = 10.0  # beyond the server's own grace: its supervisor ends what it left, and its log
KILL_WAIT_S = 5.0
ROUNDS = 3  # of ending supervisors, where somebody starts them again
POLL_S = 0.01


def start(layout: Layout, generation: int, env: Mapping[str, str], keeper: Keeper) -> Runtime:
    """Have the supervisor of a generation started and return its first word.

    Raises ``FabricError`` where it does not come up, and ends what has; the server itself may still be loading.
    """
    if process.identify(os.getpid()) is None:
        raise FabricError("No process can be told from another here: /proc is not mounted.", "mount -t proc proc /proc")
    before = read_runtime(layout)
    with explained("preparing the server's directories"):
        for path in (layout.run, layout.logs, layout.child_home / "tmp"):
            make_private_dir(path)
        keep_environment(layout, env)
        lead_to(layout, generation)
        keeper.start()
    deadline = time.monotonic() + SPAWN_TIMEOUT_S
    while time.monotonic() < deadline:
        runtime = read_runtime(layout)
        is_new = runtime is not None and (before is None or runtime.instance != before.instance)
        if runtime and is_new and (runtime.server or runtime.state is not ServerState.STARTING):
            return runtime
        if not keeper.is_up():
            break
        time.sleep(keeper.poll_s)
    log = layout.supervisor_log
    said = (read_bytes(log) or b"").decode(errors="replace").strip().splitlines()[-1:] or ["it said nothing"]
    with suppress(FabricError):
        stop(layout, keeper)  # one that is only slow would serve later on, and nobody would know
    raise FabricError(f"The server's supervisor did not start: {said[0]}.", f"Its output is in {log}.")


def lead_to(layout: Layout, generation: int) -> None:
    """Have ``current`` lead to this generation, which the supervisor serves from its next start on.

    It leads to another where a run ended between the two: it was killed, or the disk refused what came next.
    """
    target = str(layout.generation(generation).relative_to(layout.prefix))
    if not layout.current.is_symlink() or str(layout.current.readlink()) != target:
        point(layout.current, target)


def stop(layout: Layout, keeper: Keeper) -> bool:
    """Stop the server and its supervisor and wait until nothing of them is left; ``False`` where none ran.

    It stays so, also after the next login, until ``start``.
    """
    runtime = read_runtime(layout)
    grace_s = (runtime or Runtime).stop_grace_s
    supervisors = _supervisors(layout, runtime)
    family = [found for each in supervisors for pid in process.tree(each.pid) if (found := process.identify(pid))]
    keeper.stop()
    _end_supervisors(layout, runtime, keeper, grace_s + STOP_MARGIN_S)
    left = {each for each in family if process.is_running(each)}
    if runtime is not None:
        left |= set(with_environment(INSTANCE_VARIABLE, runtime.instance))
    _end(left, grace_s)
    if runtime is not None and runtime.supervisor.boot_id == process.boot_id():
        shared_memory.sweep(runtime.shared_memory)  # its supervisor has done so, unless it was killed
    _record_stopped(layout)
    return bool(supervisors or left)


def _supervisors(layout: Layout, runtime: Runtime | None) -> set[ProcessIdentity]:
    """Return the supervisors of this prefix: who has told so, and who has not yet, or whose word was lost.

    One that tells may have been started when the prefix had another name.
    """
    told = {runtime.supervisor} if runtime is not None and process.is_running(runtime.supervisor) else set()
    return told | set(with_arguments(supervisor_argv(layout.prefix)[1:], layout.prefix))


def _end_supervisors(layout: Layout, runtime: Runtime | None, keeper: Keeper, wait_s: float) -> None:
    """End all of them, again where one had to be killed: a service manager that does not answer replaces it."""
    for _ in range(ROUNDS):
        found = _supervisors(layout, runtime)
        was_killed = _end(found, wait_s)
        for each in found:
            children.reap(each.pid)
        if not was_killed:
            return
        time.sleep(keeper.restarts_within_s)
    raise FabricError(
        "The server's supervisor is started again whenever it is ended.", "Stop the service manager that does so."
    )


def _end(processes: Iterable[ProcessIdentity], grace_s: float) -> bool:
    """End them all; return whether one had to be killed. Raises ``FabricError`` where that does not end it either."""
    found = list(processes)
    was_killed = False
    for number, wait_s in ((signal.SIGTERM, grace_s), (signal.SIGKILL, KILL_WAIT_S)):
        was_killed = bool(found) and number is signal.SIGKILL
        for each in found:
            process.send(each, number)
        deadline = time.monotonic() + wait_s  # one for all
        found = [each for each in found if not process.wait_gone(each, max(0.0, deadline - time.monotonic()))]
    if found:
        raise FabricError(f"Processes {[each.pid for each in found]} of the server do not end.", "Are they stopped?")
    return was_killed


def _record_stopped(layout: Layout) -> None:
    """A killed supervisor could not say it itself."""
    import msgspec

    runtime = read_runtime(layout)
    if runtime and runtime.state is not ServerState.STOPPED:
        document = msgspec.to_builtins(runtime) | {"state": ServerState.STOPPED.value, "server": None}
        with explained("recording that the server is stopped"):
            commit(layout.runtime, msgspec.json.encode(document))
