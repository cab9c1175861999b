"""Starting and stopping the server of one prefix."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping

from provision.domain.server import INSTANCE_VARIABLE, Runtime, ServerState
from provision.errors import FabricError
from provision.host import children, process, shared_memory
from provision.host.files import commit, explained, make_private_dir, point, read_bytes
from provision.host.layout import Layout
from provision.serve.environment import keep_environment
from provision.serve.keeper import Keeper
from provision.serve.runtime import read_runtime

SPAWN_TIMEOUT_S = 20.0
STOP_MARGIN_S = 10.0  # beyond the server's own grace: its supervisor ends what it left, and its log
KILL_WAIT_S = 5.0
POLL_S = 0.01


def start(layout: Layout, generation: int, env: Mapping[str, str], keeper: Keeper) -> Runtime:
    """Have the supervisor of a generation started and return its first word.

    Raises ``FabricError`` where it does not come up; the server itself may still be loading.
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
    ran = runtime is not None and process.is_running(runtime.supervisor)
    keeper.stop()
    if runtime is None:
        return False
    if process.send(runtime.supervisor, signal.SIGTERM) and not process.wait_gone(
        runtime.supervisor, runtime.stop_grace_s + STOP_MARGIN_S
    ):
        process.send(runtime.supervisor, signal.SIGKILL)
        process.wait_gone(runtime.supervisor, KILL_WAIT_S)
    children.reap(runtime.supervisor.pid)
    ran = _end_left_over(runtime.instance, runtime.stop_grace_s) or ran
    if runtime.supervisor.boot_id == process.boot_id():
        shared_memory.sweep(runtime.shared_memory)  # its supervisor has done so, unless it was killed
    _record_stopped(layout)
    return ran


def _end_left_over(instance: str, grace_s: float) -> bool:
    """End what carries the instance id: the server of a supervisor that was killed."""
    found = process.with_environment(INSTANCE_VARIABLE, instance)
    any_left = bool(found)
    for number, wait_s in ((signal.SIGTERM, grace_s), (signal.SIGKILL, KILL_WAIT_S)):
        for left in found:
            process.send(left, number)
        deadline = time.monotonic() + wait_s  # one for all
        found = [left for left in found if not process.wait_gone(left, max(0.0, deadline - time.monotonic()))]
    if found:
        raise FabricError(f"Processes {[left.pid for left in found]} of the server do not end.", "Are they stopped?")
    return any_left


def _record_stopped(layout: Layout) -> None:
    """A killed supervisor could not say it itself."""
    import msgspec

    runtime = read_runtime(layout)
    if runtime and runtime.state is not ServerState.STOPPED:
        document = msgspec.to_builtins(runtime) | {"state": ServerState.STOPPED.value, "server": None}
        with explained("recording that the server is stopped"):
            commit(layout.runtime, msgspec.json.encode(document))
