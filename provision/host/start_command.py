"""A command line of the user's that starts something: watched until that is there, ended where it never is."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import IO

from provision.domain.visible import visible
from provision.host.files import explained
from provision.host.proc_stat import ENDED, stat_fields

_LINUX = sys.platform == "linux"
END_GRACE_S = 10.0  # `fabric up` stops what it has started, and its server is given time for that
POLL_S, MAX_POLL_S = 0.02, 0.3  # it takes a look at every process
_LAST_BYTES = 1 << 13


class StartCommand:
    """A command that runs, or that has ended: with what it started, in a session of its own.

    Its output goes into a file without a name, so that nothing is left of it, and what stays may go on writing.
    """

    def __init__(self, child: subprocess.Popen[bytes], output: IO[bytes]) -> None:
        self._child, self._output = child, output

    def exit_code(self) -> int | None:
        """Return how the command has ended, negative for a signal; ``None`` while it runs.

        It is not collected yet, so that its number, which is also that of its group, becomes nobody else's. Where this
        process ignores SIGCHLD, the system has collected it, and how it ended counts as 0: nobody knows.
        """
        if not hasattr(os, "waitid"):
            return self._child.poll()
        try:
            ended = os.waitid(os.P_PID, self._child.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return self._child.poll()
        if ended is None:
            return None
        return ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status

    def last_words(self, lines: int) -> list[str]:
        """Return the last lines of its output that are not empty, fit for a terminal."""
        size = os.fstat(self._output.fileno()).st_size
        tail = os.pread(self._output.fileno(), _LAST_BYTES, max(0, size - _LAST_BYTES))
        said = [visible(line).strip() for line in tail.decode("utf-8", "replace").splitlines()]
        return [line for line in said if line][-lines:]

    def end(self) -> None:
        """End the command and what it has started: asked first, then killed."""
        self._signal(signal.SIGTERM)
        until, pause_s = time.monotonic() + END_GRACE_S, POLL_S
        while self._is_there() and time.monotonic() < until:
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, MAX_POLL_S)
        self._signal(signal.SIGKILL)
        self._child.wait()

    def leave(self) -> None:
        """Let what runs live on; a thread collects the command when it ends."""
        threading.Thread(target=self._child.wait, name="fabric-start-command", daemon=True).start()

    def _is_there(self) -> bool:
        """Tell whether anything of the group runs; what has ended may wait for ever to be collected.

        The command itself is not collected here: the group keeps its number until the last signal.
        """
        if _LINUX:
            every = (stat_fields(pid) for pid in os.listdir("/proc") if pid.isdigit())
            return any(each[2] == str(self._child.pid) and each[0] not in ENDED for each in every if each)
        try:
            os.killpg(self._child.pid, 0)
        except (ProcessLookupError, PermissionError):  # the latter: all of it has ended (macOS)
            return False
        return True

    def _signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._child.pid, number)


@contextmanager
def starting(line: str, env: Mapping[str, str]) -> Iterator[StartCommand]:
    """Run ``line`` with the shell. What it starts outlives the body, unless that raises: then all of it is ended.

    What it has moved into sessions of their own is the command's own to end. Raises ``FabricError`` where the system
    cannot start it.
    """
    doing = f"starting `{line}`"
    with explained(doing):
        output = tempfile.TemporaryFile()  # noqa: SIM115 - closed below
    with output:
        with explained(doing):
            command = StartCommand(_shell(line, env, output), output)
        try:
            yield command
        except BaseException:
            command.end()
            raise
        command.leave()


def _shell(line: str, env: Mapping[str, str], output: IO[bytes]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        ["/bin/sh", "-c", line],
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        env=dict(env),
        start_new_session=True,
    )
