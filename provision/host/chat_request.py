"""Asking for a chat in words that hosted models take as well."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeVar

CHAT_PATH = "/v1/chat/completions"
LIMITS = ("max_tokens", "max_completion_tokens")  # of the answer: its old name, and its newer one
BAD_REQUEST = 400
ROOM_TO_THINK = 512  # tokens: the newer limit counts what a model thinks before it answers
_REFUSED = re.compile(rb"\b(max_tokens|temperature)\b")


class Answer(Protocol):
    """An answer, whole or recorded."""

    @property
    def status(self) -> int: ...

    @property
    def body(self) -> bytes: ...


AnswerT = TypeVar("AnswerT", bound=Answer)


def ask(request: Mapping[str, Any], send: Callable[[Mapping[str, Any]], AnswerT]) -> AnswerT:
    """Return what ``send`` gets for ``request``.

    Models that think refuse ``max_tokens`` or a ``temperature`` of their host's: where a 400 names one, the request is
    sent once more without.
    """
    answer = send(request)
    named = _REFUSED.findall(answer.body) if answer.status == BAD_REQUEST else []
    other = _without(request, named) if named else request
    return answer if other == request else send(other)


def _without(request: Mapping[str, Any], named: list[bytes]) -> dict[str, Any]:
    kept = {name: value for name, value in request.items() if name != "temperature"}
    old, new = LIMITS
    if old.encode() in named and old in kept:
        kept[new] = max(ROOM_TO_THINK, kept.pop(old))
    return kept
