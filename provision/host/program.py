"""Running a program to its end: bounded in time and in output, stoppable."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import field

from provision.domain.frozen import frozen
from provision.host.pipes import MAX_OUTPUT_BYTES, Pipes
from provision.host.process import ending_with_parent

KILL_GRACE_S = 3.0
LEFT_OPEN_S = 0.5
POLL_S = 0.05


@frozen
class Command:
    """A program to run, as a value: no shell ever sees it. ``env`` is added to the caller's environment."""

    argv: tuple[str, ...]
    timeout_s: float = 10.0
    env: Mapping[str, str] = field(default_factory=dict)
    stdin: str = ""
    cwd: str | None = None


@frozen
class CommandResult:
    """``returncode`` is negative for a signal, 127 where the program does not exist, 124 after the timeout.

    It is 126 where the system cannot start the program; ``stderr`` then holds ``[Errno N]`` and what that means.
    """

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

    @property
    def why(self) -> str:
        """What it said last, of its errors first, or how it ended where it said nothing; without a full stop."""
        said = (self.stderr.strip() or self.stdout.strip()).splitlines()
        return said[-1].rstrip(".") if said else f"exit {self.returncode}"


_NOT_FOUND, _CANNOT_START, _TIMED_OUT = 127, 126, 124  # as shells and timeout(1) say it
NOT_FOUND = CommandResult(_NOT_FOUND, "", "not found")


def run(command: Command, base_env: Mapping[str, str], stop: threading.Event | None = None) -> CommandResult:
    """Run ``command`` and return its output; never raises.

    Ends it after the timeout, as soon as ``stop`` is set, or when it prints more than ``MAX_OUTPUT_BYTES``; what it
    printed until then is kept. That takes at most twice ``KILL_GRACE_S`` more.
    """
    return _run(command, base_env, stop, None)


def follow(
    command: Command, base_env: Mapping[str, str], hear: Callable[[bytes], None], stop: threading.Event | None = None
) -> CommandResult:
    """Run ``command`` as ``run`` does, but hand over its output as it comes, both streams as one, and keep none of it.

    However much that is. ``stderr`` of the result holds only why it was ended. What ``hear`` raises ends the program
    and is raised here.
    """
    return _run(command, base_env, stop, hear)


def _run(
    command: Command,
    base_env: Mapping[str, str],
    stop: threading.Event | None,
    hear: Callable[[bytes], None] | None,
) -> CommandResult:
    env = {**base_env, **command.env}
    program = shutil.which(command.argv[0], path=env.get("PATH"))
    if program is None:
        return _not_found(command.argv[0])
    try:
        child = subprocess.Popen(
            [program, *command.argv[1:]],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE if hear is None else subprocess.STDOUT,
            bufsize=0,
            env=env,
            cwd=command.cwd,
            start_new_session=True,  # so that all that it starts can be ended with it
            preexec_fn=ending_with_parent(signal.SIGKILL),  # noqa: PLW1509 - one system call, looked up before the fork
        )
    except OSError as error:
        return CommandResult(_CANNOT_START, "", str(error))
    pipes = Pipes(child, command.stdin.encode(), hear)
    try:
        return _wait(child, pipes, command, stop or threading.Event())
    except BaseException:  # Ctrl-C: the program does not outlive us, nor stay as a zombie
        _end(child, pipes)
        raise
    finally:
        pipes.close()


def _not_found(program: str) -> CommandResult:
    """A file that is there by its path, and may not be run, is something else than one that is not there."""
    if os.sep in program and os.path.isfile(program):
        return CommandResult(_CANNOT_START, "", str(PermissionError(errno.EACCES, os.strerror(errno.EACCES), program)))
    return NOT_FOUND


def _wait(child: subprocess.Popen[bytes], pipes: Pipes, command: Command, stop: threading.Event) -> CommandResult:
    ended = _exchange(child, pipes, command.timeout_s, lambda: pipes.overflowing or stop.is_set())
    output, errors = (bytes(kept).decode("utf-8", "replace") for kept in (pipes.output, pipes.errors))
    if pipes.overflowing:
        _kill(child)
        return CommandResult(-signal.SIGKILL, output, f"printed more than {MAX_OUTPUT_BYTES >> 20} MiB")
    if not ended:
        _end(child, pipes)
        return CommandResult(_TIMED_OUT, output, f"no answer within {command.timeout_s:g} s")
    if pipes.open:  # by something that it left behind
        _kill(child)
    return CommandResult(child.returncode, output, errors)


def _exchange(child: subprocess.Popen[bytes], pipes: Pipes, limit_s: float, is_enough: Callable[[], bool]) -> bool:
    """Exchange with the program until it has ended (``True``), or for ``limit_s``, or until it ``is_enough``.

    What it leaves behind may hold its output open for ever: that is waited for a moment only.
    """
    until = time.monotonic() + limit_s
    while child.poll() is None:
        if time.monotonic() >= until or is_enough():
            return False
        pipes.exchange(POLL_S)
    until = time.monotonic() + LEFT_OPEN_S
    while pipes.open and time.monotonic() < until and not is_enough():
        pipes.exchange(POLL_S)
    return True


def _end(child: subprocess.Popen[bytes], pipes: Pipes) -> None:
    """End the program and all that it started: asked first, then killed."""
    _signal(child, signal.SIGTERM)
    try:
        _exchange(child, pipes, KILL_GRACE_S, lambda: False)
    finally:  # whoever hears its output may fail again
        _kill(child)


def _kill(child: subprocess.Popen[bytes]) -> None:
    """Kill the program and all that it started. One that even SIGKILL cannot end, as it hangs in a driver, is left."""
    _signal(child, signal.SIGKILL)
    with contextlib.suppress(subprocess.TimeoutExpired):
        child.wait(KILL_GRACE_S)


def _signal(child: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, number)
