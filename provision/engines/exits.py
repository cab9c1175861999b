"""What the end of a server process means, in words."""

from __future__ import annotations

import re
import signal
from collections.abc import Sequence

from provision.domain.engine import Failure
from provision.domain.server import Exit

_SHELL_SIGNAL_BASE = 128

_SIGNALS = {
    signal.SIGILL: Exit(
        -signal.SIGILL,
        "illegal instruction: this build was made for a newer processor",
        "see `fabric doctor`; this processor needs another build",
        retry=False,
    ),
    signal.SIGSEGV: Exit(-signal.SIGSEGV, "it crashed (segmentation fault)", "see `fabric logs`"),
    signal.SIGABRT: Exit(-signal.SIGABRT, "it gave up (assertion or abort)", "see `fabric logs`"),
    signal.SIGKILL: Exit(
        -signal.SIGKILL,
        "it was killed: by hand, or by the kernel because memory ran out",
        "if memory ran out, use a smaller --context or a smaller model",
    ),
    signal.SIGTERM: Exit(-signal.SIGTERM, "it was ended by a signal from outside", None),
}


def decode(returncode: int, log: str, failures: Sequence[Failure]) -> Exit:
    """Return what ``returncode`` (negative for a signal) and the end of the log say, and whether to try again."""
    number = returncode - _SHELL_SIGNAL_BASE if returncode > _SHELL_SIGNAL_BASE else -returncode
    if number == signal.SIGILL:
        return _SIGNALS[signal.SIGILL]
    known = next((failure for failure in failures if re.search(failure.pattern, log, re.IGNORECASE)), None)
    if known is not None:
        return Exit(returncode, known.reason, known.hint, known.restart)
    by_signal = next((exit_ for name, exit_ in _SIGNALS.items() if number == name), None)
    if by_signal is not None:
        return by_signal
    if returncode < 0:
        return Exit(returncode, f"it was ended by signal {-returncode}", "see `fabric logs`")
    return Exit(returncode, f"it ended with status {returncode}", "see `fabric logs`")
