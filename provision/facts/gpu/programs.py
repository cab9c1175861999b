"""Asking a vendor's program for facts."""

from __future__ import annotations

from provision.host.machine import Command, Machine

TIMEOUT_S = 10.0
_NOT_FOUND, _TIMED_OUT = 127, 124
_FALLBACK_PATH = "/usr/local/bin:/usr/bin:/bin"


def ask(machine: Machine, argv: tuple[str, ...], directory: str, timeout_s: float = TIMEOUT_S) -> str | None:
    """Return what ``argv`` prints to its standard output, whatever its exit status.

    ``directory`` is where its vendor installs it, searched after PATH. ``None`` where it is not installed. Raises
    ``TimeoutError`` where it did not answer in time, ``ValueError`` where a signal ended it, or it failed in silence.
    """
    path = f"{machine.env.get('PATH') or _FALLBACK_PATH}:{directory}"
    result = machine.run(Command(argv, timeout_s, {"PATH": path}))
    if result.returncode == _NOT_FOUND:
        return None
    if result.returncode == _TIMED_OUT:
        raise TimeoutError(f"{argv[0]}: {result.stderr.strip()}")
    if result.returncode < 0:
        raise ValueError(f"{argv[0]} was ended by signal {-result.returncode}")
    if result.returncode and not result.stdout.strip():
        raise ValueError(f"{argv[0]} ended with {result.returncode}: {result.stderr.strip()[:300]}")
    return result.stdout
