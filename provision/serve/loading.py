"""Waiting for a server that somebody else runs until it has loaded its model: before that, it cannot be chosen from."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from provision.select.external import StillLoadingError
from provision.serve.waiting import MAX_POLL_S, STALL_S, ServerFailedError

LookedT = TypeVar("LookedT")


def when_loaded(
    look: Callable[[], LookedT], timeout_s: float | None, say: Callable[[str], None], unsaid_s: float = STALL_S
) -> tuple[LookedT, float | None]:
    """Return what ``look`` returns as soon as it raises no ``StillLoadingError``, and what is left of ``timeout_s``.

    That is the time which the user gave, else ``unsaid_s`` counts: how far the server is cannot be seen from here. It
    begins with the first such error, which is told to ``say``. Raises ``ServerFailedError`` when it is over.
    """
    limit_s = unsaid_s if timeout_s is None else timeout_s
    try:
        return look(), timeout_s
    except StillLoadingError as error:
        say(f"{error.message} Waiting for it, {limit_s:g} s at most")
    ends = time.monotonic() + limit_s
    while (left_s := ends - time.monotonic()) > 0:
        time.sleep(min(MAX_POLL_S, left_s))
        with suppress(StillLoadingError):
            return look(), None if timeout_s is None else max(0.0, round(ends - time.monotonic(), 1))
    raise ServerFailedError(
        f"The server did not become ready: it was still loading its model after {limit_s:g} s.",
        "Somebody else runs it: see what it says there; `fabric up --timeout SECONDS` waits as long as you say.",
    )
