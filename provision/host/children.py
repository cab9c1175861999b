"""Children of this process, and orphans of theirs that came to it: collecting and ending them."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress

from provision.host.process import POLL_S, identify, send, tree


def reap(pid: int) -> None:
    """Collect an ended child of ours, so that no zombie stays."""
    with suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)


def reap_all(timeout_s: float) -> bool:
    """Collect every child of ours, those that came to us as orphans too, as it ends; wait no longer than this.

    Return whether there is none any more.
    """
    deadline = time.monotonic() + timeout_s
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0] or time.monotonic() < deadline:
            time.sleep(POLL_S)
        return False
    return True


def kill_children() -> None:
    """Kill every descendant of this process. The caller collects them."""
    for pid in tree(os.getpid())[1:]:
        if (child := identify(pid)) is not None:
            send(child, signal.SIGKILL)
