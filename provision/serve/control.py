"""Starting and stopping the server of one prefix."""

from __future__ import annotations

import os
import signal
import sys
import time
import uuid
from collections.abc import Mapping

from provision.domain.server import INSTANCE_VARIABLE, Runtime, ServerState
from provision.errors import FabricError
from provision.facts.gpu.gpu_env import read_gpu_env
from provision.host import children, process, shared_memory
from provision.host.files import commit, explained, make_private_dir
from provision.host.layout import Layout
from provision.serve.observation import Server

SPAWN_TIMEOUT_S = 20.0
STOP_MARGIN_S = 10.0  # beyond the server's own grace: its supervisor ends what it left, and its log
KILL_WAIT_S = 5.0
POLL_S = 0.01

_PASSED_ON = ("PATH", "LANG", "LC_ALL", "TZ", "SYSTEMROOT")  # and what says which GPUs an engine sees


def child_environment(layout: Layout, env: Mapping[str, str]) -> dict[str, str]:
    """Return a small environment whose home, caches and temporary files are all inside the prefix."""
    home = layout.child_home
    kept = {**{name: env[name] for name in _PASSED_ON if name in env}, **read_gpu_env(env)}
    inside = {
        "HOME": home,
        "TMPDIR": home / "tmp",
        "XDG_CACHE_HOME": home / "cache",
        "XDG_CONFIG_HOME": home / "config",
        "XDG_DATA_HOME": home / "data",
        "XDG_STATE_HOME": home / "state",
        "HF_HOME": home / "huggingface",
    }
    return {**kept, **{name: str(path) for name, path in inside.items()}, "DO_NOT_TRACK": "1", "HF_HUB_OFFLINE": "1"}


def start(layout: Layout, generation: int, env: Mapping[str, str]) -> Runtime:
    """Start the supervisor of a generation and return its first word.

    Raises ``FabricError`` where it does not come up; the server itself may still be loading.
    """
    if process.identify(os.getpid()) is None:
        raise FabricError("No process can be told from another here: /proc is not mounted.", "mount -t proc proc /proc")
    instance = uuid.uuid4().hex
    with explained("preparing the server's directories"):
        for path in (layout.run, layout.logs, layout.child_home / "tmp"):
            make_private_dir(path)
        log = layout.logs / "supervisor.log"
        argv = [sys.executable, "-I", "-m", "provision.serve.supervisor", str(layout.prefix), str(generation), instance]
        inherited = {**child_environment(layout, env), INSTANCE_VARIABLE: instance}
        pid = process.start_detached(argv, inherited, log, layout.prefix)
    deadline = time.monotonic() + SPAWN_TIMEOUT_S
    while time.monotonic() < deadline:
        runtime = Server(layout, None).runtime()
        if runtime and runtime.instance == instance and (runtime.server or runtime.state is not ServerState.STARTING):
            return runtime
        if process.identify(pid) is None:
            break
        time.sleep(POLL_S)
    said = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1:] or ["it said nothing"]
    raise FabricError(f"The server's supervisor did not start: {said[0]}.", f"Its output is in {log}.")


def stop(layout: Layout) -> bool:
    """Stop the server and its supervisor and wait until nothing of them is left; ``False`` where none ran."""
    runtime = Server(layout, None).runtime()
    if runtime is None:
        return False
    ran = process.send(runtime.supervisor, signal.SIGTERM)
    if ran and not process.wait_gone(runtime.supervisor, runtime.stop_grace_s + STOP_MARGIN_S):
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

    runtime = Server(layout, None).runtime()
    if runtime and runtime.state is not ServerState.STOPPED:
        document = msgspec.to_builtins(runtime) | {"state": ServerState.STOPPED.value, "server": None}
        with explained("recording that the server is stopped"):
            commit(layout.runtime, msgspec.json.encode(document))
