"""Every error that a user can meet, and the exit code of each.

::

    FabricError            1    failed
    ├── UsageError         64   wrong usage
    ├── InvalidInputError  65   bad spec, lock, state or plan file
    ├── UnreachableError   69   something remote, or the server, cannot be reached
    │   └── UnavailableError    a release or a model cannot be had from its place
    ├── CannotCreateError  73   disk full, permission, read-only
    ├── LockedError        75   another fabric holds the lock
    ├── RefusedError       77   refused for safety
    └── InterruptedByUserError  130  interrupted (143 by SIGTERM)

A message says what happened and why; the hint says what to do next.
"""

from __future__ import annotations

import copyreg
from collections.abc import Iterable
from typing import Any


class FabricError(Exception):
    """Something failed in a way that the user can understand.

    ``code`` is the stable word printed as ``error.code`` in JSON.
    """

    code = "failed"
    exit_code = 1

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __reduce__(self) -> tuple[Any, ...]:
        """Copied, or sent to another process, without the constructor: those of some kinds take other arguments."""
        return copyreg.__newobj__, (type(self), *self.args), self.__dict__  # type: ignore[attr-defined]

    def document(self) -> dict[str, str | None]:
        """Return the keys of the contract."""
        return {"code": self.code, "message": self.message, "hint": self.hint}


class UsageError(FabricError):
    """The command line asks for something that does not exist or contradicts itself."""

    code = "usage"
    exit_code = 64


class InvalidInputError(FabricError):
    """A spec, lock, state, plan, capture or model file cannot be used as it is."""

    code = "invalid-input"
    exit_code = 65


class UnreachableError(FabricError):
    """A package index, a mirror or a server does not answer."""

    code = "unreachable"
    exit_code = 69


class UnavailableError(UnreachableError):
    """What is to be installed cannot be had from its place.

    ``what`` is the release, the reference or, where ``is_place``, the place (such as ``github``) that is of no use.
    """

    code = "unavailable"

    def __init__(self, what: str, message: str, hint: str | None = None, *, is_place: bool = False) -> None:
        super().__init__(message, hint)
        self.what, self.is_place = what, is_place


class CannotCreateError(FabricError):
    """The disk is full, read-only or forbidden."""

    code = "cannot-create"
    exit_code = 73


class LockedError(FabricError):
    """Another ``fabric`` is changing the same prefix."""

    code = "locked"
    exit_code = 75


class RefusedError(FabricError):
    """Going on would be unsafe: a hash differs, an address is open to others, a prefix is not ours."""

    code = "refused"
    exit_code = 77


class InterruptedByUserError(FabricError):
    """Ctrl-C (130) or SIGTERM (143)."""

    code = "interrupted"
    exit_code = 130


def did_you_mean(word: str, known: Iterable[str], likeness: float = 0.5) -> str:
    """Return ``" Did you mean 'x'?"`` for the nearest of ``known`` that is as like as this (0 to 1), or nothing."""
    from difflib import get_close_matches

    near = get_close_matches(word, list(known), n=1, cutoff=likeness)
    return f" Did you mean {near[0]!r}?" if near else ""
