"""What the end of a server process means, in words."""

from __future__ import annotations

import errno
import os
import re
import signal
from collections.abc import Sequence

from provision.domain.engine import Failure
from provision.domain.server import Exit

CANNOT_START = 126  # as shells, and ``run`` of ``provision.host.program``, say it
_NOT_FOUND = 127
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
_OUT_OF_MEMORY = Exit(
    -signal.SIGKILL,
    "it was killed by the kernel: this machine, or the group of processes it is in, ran out of memory",
    "use a smaller --context, or a smaller model or quantization; `fabric plan` shows what it needs",
)

_ERRNO = re.compile(r"\[Errno ([0-9]{1,4})\]")
_OTHER_BUILD = "choose another build or source of the engine; see `fabric doctor`"
_START_ERRORS = {
    errno.ENOEXEC: (
        "the system cannot run it: it was made for another processor or system, or is no program at all",
        _OTHER_BUILD,
    ),
    errno.ENOENT: (
        "the program, or the loader that it names, is not on this system",
        "`fabric up` repairs it if a file is gone; else choose a build for this system's C library (glibc or musl)",
    ),
    errno.EACCES: (
        "it may not be run: it is not executable, or lies on a file system that is mounted noexec",
        "use --home on a file system that programs may be run from",
    ),
    errno.EPERM: ("this system does not allow it to be run", "ask who administers this machine; see `fabric doctor`"),
}
_BUSY = (errno.EAGAIN, errno.ENOMEM, errno.ETXTBSY, errno.EMFILE, errno.ENFILE)

# What the loaders of glibc and musl print before they give up.
_MISSING_LIBRARY = re.compile(
    r"error while loading shared libraries: ([^\s:]{1,100}): cannot open|Error loading shared library ([^\s:]{1,100}):"
)
_OLD_LIBRARY = re.compile(r"version `((?:GLIBC|GLIBCXX|CXXABI)_[0-9.]{1,12})' not found")


def why_not_started(number: int | None) -> Exit:
    """Return what the ``errno`` of a program that could not even be started says."""
    known = _START_ERRORS.get(number or 0)
    if known:
        return Exit(CANNOT_START, f"it cannot be started: {known[0]}", known[1], retry=False)
    said = os.strerror(number) if number else "the system does not say why"
    return Exit(CANNOT_START, f"it cannot be started: {said}", "see `fabric logs`", retry=number in _BUSY)


def decode(returncode: int, log: str, failures: Sequence[Failure], *, starved: bool = False) -> Exit:
    """Return what ``returncode`` (negative for a signal) and the end of the log say, and whether to try again.

    ``starved`` says that the kernel was killing for want of memory when it ended.
    """
    number = returncode - _SHELL_SIGNAL_BASE if returncode > _SHELL_SIGNAL_BASE else -returncode
    if number == signal.SIGILL:
        return _SIGNALS[signal.SIGILL]
    if number == signal.SIGKILL and starved:
        return _OUT_OF_MEMORY
    known = next((failure for failure in failures if re.search(failure.pattern, log, re.IGNORECASE)), None)
    if known is not None:
        return Exit(returncode, known.reason, known.hint, known.restart, known.lost_port)
    unstarted = _unstarted(returncode, log)
    if unstarted is not None:
        return unstarted
    by_signal = next((exit_ for name, exit_ in _SIGNALS.items() if number == name), None)
    if by_signal is not None:
        return by_signal
    if returncode < 0:
        return Exit(returncode, f"it was ended by signal {-returncode}", "see `fabric logs`")
    return Exit(returncode, f"it ended with status {returncode}", "see `fabric logs`")


def _unstarted(returncode: int, log: str) -> Exit | None:
    """Return why a program ended before its first own instruction, ``None`` where it got further."""
    number = _ERRNO.search(log)
    if returncode == CANNOT_START and number:
        return why_not_started(int(number[1]))
    library, version = _MISSING_LIBRARY.search(log), _OLD_LIBRARY.search(log)
    if library:
        name = library[1] or library[2]
        return Exit(returncode, f"the shared library {name} is not on this system", "see `fabric doctor`", retry=False)
    if version:
        reason = f"the system's libraries are too old: it needs {version[1]}"
        return Exit(returncode, reason, _OTHER_BUILD, retry=False)
    if returncode == _NOT_FOUND and log.strip() == "not found":
        return Exit(returncode, "there is no such program", "`fabric up` repairs it", retry=False)
    return None
