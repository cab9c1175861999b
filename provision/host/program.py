"""Running a program to its end: bounded in time, stoppable, output kept apart."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

KILL_GRACE_S = 3.0
POLL_S = 0.05
PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class Command:
    """A program to run, as a value: no shell ever sees it. ``env`` is added to the caller's environment."""

    argv: tuple[str, ...]
    timeout_s: float = 10.0
    env: Mapping[str, str] = field(default_factory=dict)
    stdin: str = ""
    cwd: str | None = None


@dataclass(frozen=True)
class CommandResult:
    """``returncode`` is negative for a signal, 127 where the program does not exist, 124 after the timeout."""

    returncode: int
    stdout: str = ""
    stderr: str = ""

    @property
    def missing(self) -> bool:
        """Whether there is no such program."""
        return self.returncode == _NOT_FOUND

    @property
    def timed_out(self) -> bool:
        """Whether it was ended because it took too long."""
        return self.returncode == _TIMED_OUT


_NOT_FOUND, _TIMED_OUT = 127, 124  # as shells and timeout(1) say it
NOT_FOUND = CommandResult(_NOT_FOUND, "", "not found")


def run(command: Command, base_env: Mapping[str, str], stop: threading.Event | None = None) -> CommandResult:
    """Run ``command`` and return its output; never raises.

    Ends it after the timeout, or as soon as ``stop`` is set.
    """
    env = {**base_env, **command.env}
    program = shutil.which(command.argv[0], path=env.get("PATH"))
    if program is None:
        return NOT_FOUND
    try:
        child = subprocess.Popen(
            [program, *command.argv[1:]],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=env,
            cwd=command.cwd,
            start_new_session=True,  # so that all that it starts can be ended with it
            preexec_fn=_end_with_parent(),  # noqa: PLW1509 - one system call, looked up before the fork
        )
    except OSError as error:
        return CommandResult(126, "", str(error))
    try:
        return _wait(child, command, stop or threading.Event())
    except BaseException:  # Ctrl-C: the program does not outlive us, nor stay as a zombie
        _end(child)
        raise
    finally:
        for stream in (child.stdin, child.stdout, child.stderr):
            if stream is not None:
                stream.close()


def _end_with_parent() -> Callable[[], object] | None:
    """Return what makes a child end when we are killed (Linux); the thread that starts it also waits for it."""
    if sys.platform != "linux":
        return None
    import ctypes

    prctl = ctypes.CDLL(None).prctl
    return lambda: prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _wait(child: subprocess.Popen[bytes], command: Command, stop: threading.Event) -> CommandResult:
    deadline = time.monotonic() + command.timeout_s
    given: bytes | None = command.stdin.encode()
    while (done := _communicate(child, given)) is None:
        given = None
        if stop.is_set() or time.monotonic() >= deadline:
            _end(child)
            return CommandResult(_TIMED_OUT, "", f"no answer within {command.timeout_s:g} s")
    output, errors = done
    return CommandResult(child.returncode, output.decode("utf-8", "replace"), errors.decode("utf-8", "replace"))


def _communicate(child: subprocess.Popen[bytes], given: bytes | None) -> tuple[bytes, bytes] | None:
    try:
        return child.communicate(given, timeout=POLL_S)
    except subprocess.TimeoutExpired:
        return None


def _end(child: subprocess.Popen[bytes]) -> None:
    """End the program and all that it started. One that even SIGKILL cannot end, as it hangs in a driver, is left."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.communicate(timeout=KILL_GRACE_S)
            return
