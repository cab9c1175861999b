"""Asking a program for facts: where it is not there, that is an answer; where it hangs or dies, that is told."""

from __future__ import annotations

from provision.host.machine import Command, CommandResult, Machine

TIMEOUT_S = 10.0
_FALLBACK_PATH = "/usr/local/bin:/usr/bin:/bin"


class CrashError(ValueError):
    """A program that was ended by a signal, as broken drivers end those that load them."""


def finished(machine: Machine, command: Command) -> CommandResult | None:
    """Run ``command`` to its end and return what came of it, ``None`` where it is not installed.

    Raises ``TimeoutError`` where it did not answer in time, ``CrashError`` where a signal ended it.
    """
    result, name = machine.run(command), command.argv[0]
    if result.missing:
        return None
    if result.timed_out:
        raise TimeoutError(f"{name}: {result.stderr.strip()}")
    if result.returncode < 0:
        raise CrashError(f"{name} was ended by signal {-result.returncode}")
    return result


def ask(machine: Machine, argv: tuple[str, ...], directory: str, timeout_s: float = TIMEOUT_S) -> str | None:
    """Return what ``argv`` prints to its standard output, whatever its exit status.

    ``directory`` is where its vendor installs it, searched after PATH. ``None`` where it is not installed. Raises as
    ``finished`` does, and ``ValueError`` where it failed in silence.
    """
    path = f"{machine.env.get('PATH') or _FALLBACK_PATH}:{directory}"
    result = finished(machine, Command(argv, timeout_s, {"PATH": path}))
    if result is not None and result.returncode and not result.stdout.strip():
        raise ValueError(f"{argv[0]} ended with {result.returncode}: {result.stderr.strip()[:300]}")
    return None if result is None else result.stdout
