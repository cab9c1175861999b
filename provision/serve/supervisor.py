"""The process that starts the server, keeps its log, restarts it and tells how it is.

    python -m provision.serve.supervisor PREFIX

It serves the generation that ``current`` leads to, whoever starts it: fabric, or a service manager. It ends on
SIGTERM, taking the server and whatever the server started with it. If it is killed, the server ends too. It tells what
it knows in ``run/server.json`` and takes no commands but signals. It ends with 0 unless something unforeseen happened,
so that a service manager need not look at the server to know whether to start it again.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import subprocess
import sys
import time
import uuid
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import FrameType

import msgspec

from provision.domain.server import INSTANCE_VARIABLE, Exit, ProcessIdentity, Runtime, ServerState, SharedFile
from provision.engines.exits import decode, why_not_started
from provision.host import children, process, shared_memory
from provision.host.confinement import confine
from provision.host.files import commit
from provision.host.layout import Layout
from provision.host.place import place_of
from provision.host.process_search import with_environment
from provision.serve.backoff import next_delay
from provision.serve.environment import kept_environment, server_environment
from provision.serve.logkeeper import LogKeeper
from provision.serve.runtime import read_runtime
from provision.serve.server_file import read_server_file
from provision.serve.server_log import ServerLog

PR_SET_CHILD_SUBREAPER = 36
LOG_DRAIN_S = 2.0
STRAGGLERS_S = 3.0
FIRST_LOOK_S, LAST_LOOK_S = 0.25, 30.0  # between two looks at a server that runs; what it makes, it makes at first


class Supervisor:
    """Runs one server until it is told to stop, cannot heal or crashes too often."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        generation = int(layout.current.readlink().name)
        self._server = read_server_file(layout, generation)
        self._environment = kept_environment(layout)
        self._runtime = Runtime(
            uuid.uuid4().hex,
            generation,
            ServerState.STARTING,
            process.myself(),
            stop_grace_s=self._server.stop_grace_s,
            log_start=ServerLog(layout.server_log).end(),
            place=place_of(layout.prefix),
        )
        self._stopping = False
        self._woken, self._wake = os.pipe()
        self._child: subprocess.Popen[bytes] | None = None

    def run(self) -> None:
        """Return when the server is not to be started any more; the last word is in ``run/server.json``."""
        self._catch_signals()
        self._end_predecessor()
        self._write()  # no server without it: nobody could tell how it is, or what to end
        crashes: list[float] = []
        while not self._told_to_stop():
            ended = self._run_once()
            if self._told_to_stop():
                break
            crashes.append(time.monotonic())
            delay = next_delay(crashes, crashes[-1]) if ended.retry else None
            if delay is None:
                final = ServerState.CRASH_LOOP if ended.retry else ServerState.FAILED
                self._tell(state=final, server=None, last_exit=ended)
                return
            self._tell(server=None, last_exit=ended, restarts=self._runtime.restarts + 1)
            select.select([self._woken], [], [], delay)
        self._tell(state=ServerState.STOPPED, server=None)

    def _run_once(self) -> Exit:
        not_ours = shared_memory.listed()
        try:
            child = self._child = self._start()
        except OSError as error:
            return why_not_started(error.errno)
        running = process.identify(child.pid)
        self._tell(server=running)
        keeper = LogKeeper(self._layout.server_log)
        if child.stdout is not None:
            keeper.follow(child.stdout)
        if self._told_to_stop():  # the signal came before there was a child to pass it to
            self._pass_on()
        starved = self._watch(running, not_ours)
        returncode = child.wait()
        self._child = None
        self._note_shared_memory(not_ours)
        self._end_stragglers()
        return decode(returncode, keeper.finish(LOG_DRAIN_S), self._server.failures, starved=starved)

    def _watch(self, running: ProcessIdentity | None, not_ours: frozenset[SharedFile]) -> bool:
        """Wait for the end of the server; tell whether the kernel was killing for want of memory just before it."""
        look_s, killed = FIRST_LOOK_S, process.killed_for_memory()
        while running is not None and process.can_wait() and not process.wait_gone(running, look_s):
            look_s, killed = min(LAST_LOOK_S, look_s * 2), process.killed_for_memory()
            self._note_shared_memory(not_ours)
        return process.killed_for_memory() > killed

    def _note_shared_memory(self, not_ours: frozenset[SharedFile]) -> None:
        """Remember what the server's processes have made and use, for when they cannot remove it themselves."""
        ours = with_environment(INSTANCE_VARIABLE, self._runtime.instance)
        known = frozenset(self._runtime.shared_memory)
        new = shared_memory.used_by(each.pid for each in ours) - not_ours - known
        if new:
            self._tell(shared_memory=(*self._runtime.shared_memory, *sorted(new, key=lambda file: file.name)))

    def _start(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            self._server.argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=server_environment(self._environment, self._server, self._runtime),
            cwd="/",
            start_new_session=True,
            preexec_fn=process.ending_with_parent(signal.SIGTERM),  # noqa: PLW1509 - one system call, looked up before
        )

    def _end_stragglers(self) -> None:
        """Whatever carries our instance id was started by the server and has outlived it.

        What does not carry it, such as a tracker of resources, ends by itself when those have, or is ended: orphans
        of the server are children of ours.
        """
        _kill_all_of(self._runtime.instance)
        if not children.reap_all(STRAGGLERS_S):
            children.kill_children()
            children.reap_all(STRAGGLERS_S)
        shared_memory.sweep(self._runtime.shared_memory)

    def _end_predecessor(self) -> None:
        """What is left of the server of a supervisor that was killed holds the port and the memory."""
        before = read_runtime(self._layout)
        if before is not None and before.state is not ServerState.STOPPED:
            _kill_all_of(before.instance)
            if before.supervisor.boot_id == process.boot_id():
                shared_memory.sweep(before.shared_memory)

    def _catch_signals(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._on_stop)
        signal.signal(signal.SIGALRM, self._on_grace_over)
        os.set_blocking(self._wake, False)
        signal.set_wakeup_fd(self._wake)  # ends the wait between two attempts

    def _on_stop(self, _number: int, _frame: FrameType | None) -> None:
        self._stopping = True
        self._pass_on()

    def _told_to_stop(self) -> bool:
        return self._stopping

    def _pass_on(self) -> None:
        if self._child is not None:
            self._child.terminate()
            signal.alarm(self._server.stop_grace_s)

    def _on_grace_over(self, _number: int, _frame: FrameType | None) -> None:
        if self._child is not None:
            self._child.kill()

    def _tell(self, **changes: object) -> None:
        self._runtime = replace(self._runtime, **changes)  # type: ignore[arg-type]  # one line for every field
        with suppress(OSError):  # a full disk makes the status old; that is no reason to end the server
            self._write()

    def _write(self) -> None:
        commit(self._layout.runtime, msgspec.json.encode(self._runtime))


def _kill_all_of(instance: str) -> None:
    found = with_environment(INSTANCE_VARIABLE, instance)
    for left in found:
        process.send(left, signal.SIGKILL)
    for left in found:
        process.wait_gone(left, STRAGGLERS_S)


def main(arguments: list[str]) -> int:
    """Run until the end. The one argument is the prefix."""
    (prefix,) = arguments
    confine()
    if sys.platform == "linux":  # orphans of the server come to us, not to init
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)
    Supervisor(Layout(Path(prefix))).run()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
