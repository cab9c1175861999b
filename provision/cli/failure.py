"""How a failure reads: a few lines on stderr, or one JSON document on stdout."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import threading
from collections.abc import Iterable
from types import FrameType
from typing import TextIO

from provision.domain.visible import visible
from provision.errors import FabricError, InterruptedByUserError, UsageError, did_you_mean

EXIT_INTERRUPTED = 130
EXIT_TERMINATED = 143
_CHANGING = frozenset(("up", "apply", "down", "destroy", "rollback"))
_INTERRUPTED = "Interrupted. What was finished stays; the next `fabric up` goes on from there."


class Terminated(BaseException):
    """SIGTERM or SIGHUP arrived."""


def catch_termination() -> None:
    """Let SIGTERM and SIGHUP unwind the stack like Ctrl-C, so that nothing is left half-done."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _raise_terminated)


def _raise_terminated(_number: int, _frame: FrameType | None) -> None:
    raise Terminated


def report(error: BaseException, arguments: list[str], verbs: Iterable[str]) -> int:
    """Print ``error`` in the form that was asked for and return the exit status."""
    if "--debug" in arguments:
        import traceback

        traceback.print_exception(error)
    known = explain(error, arguments, list(verbs))
    status = EXIT_TERMINATED if isinstance(error, Terminated) else known.exit_code
    if "--json" in arguments:
        verb = next((argument for argument in arguments if argument in verbs), "fabric")
        told = known.document()
        _write(sys.stdout, json.dumps({"schema": f"fabric.{verb}/v1", "error": told}))
        return status
    lines = [f"{_red('Error:')} {visible(known.message)}"]
    if known.hint:
        lines.append(f"  {visible(known.hint)}")
    _write(sys.stderr, "\n".join(lines))
    return status


def _write(stream: TextIO | None, text: str) -> None:
    """Write to a stream that may be closed or full: what cannot be told must not become another failure."""
    if stream is not None:
        with contextlib.suppress(OSError, ValueError):
            stream.write(f"{text}\n")
            stream.flush()


def leave(status: int) -> int:
    """Return ``status``; where a stalled transfer would keep the process from ending, end it now."""
    if threading.active_count() > 1:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    return status


def explain(error: BaseException, arguments: list[str], verbs: list[str]) -> FabricError:
    """Turn whatever was raised into an error that a user can act on."""
    import typer

    if isinstance(error, FabricError):
        return error
    if isinstance(error, (KeyboardInterrupt, Terminated)):
        return InterruptedByUserError(_INTERRUPTED if _CHANGING.intersection(arguments) else "Interrupted.")
    if isinstance(error, typer.BadParameter.__mro__[2]):  # the base of all errors of the command line parser
        return _usage(error, arguments, verbs)
    if isinstance(error, OSError):
        from provision.host.files import explain as explain_os_error

        return explain_os_error(error, "working")
    if isinstance(error, UnicodeEncodeError):
        from provision.host.layout import NOT_UNICODE

        return UsageError(f"{error.object!r} has bytes that are no letters.", NOT_UNICODE)
    if isinstance(error, MemoryError) or "can't start new thread" in str(error):
        what = "memory" if isinstance(error, MemoryError) else "threads"
        return FabricError(f"This process may not have more {what}.", "Something limits what may be used: `ulimit -a`.")
    return FabricError(
        f"Something unexpected happened: {type(error).__name__}: {error}",
        "This is a bug in fabric. Run the command again with --debug and report what it shows.",
    )


def _usage(error: BaseException, arguments: list[str], verbs: list[str]) -> FabricError:
    message = getattr(error, "format_message", lambda: str(error))()
    context = getattr(error, "ctx", None)
    path = getattr(context, "command_path", "fabric")
    first = next((argument for argument in arguments if not argument.startswith("-")), "")
    if "No such command" in message:
        return UsageError(f"There is no command {first!r}.{did_you_mean(first, verbs)}", "See `fabric --help`.")
    return UsageError(message, f"See `{path} --help`.")


def _red(text: str) -> str:
    coloured = sys.stderr.isatty() and "NO_COLOR" not in os.environ
    return f"\033[1;31m{text}\033[0m" if coloured else text
