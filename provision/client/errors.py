"""What can go wrong between a client and a model server; the server's own words are in every message.

::

    ClientError                 1
    ├── ConnectError            69   nobody answers: refused, unknown name, certificate, proxy, silence
    ├── StatusError             1    it answers with an error: ``status``, ``said``
    │   ├── AuthenticationError      401, 403
    │   ├── NotFoundError            404: no such model, or no such API
    │   ├── RateLimitError           429
    │   └── UnavailableError         503: it loads still, or is full
    ├── AnswerError             1    it answers with something that is no answer to the question
    └── BrokenStreamError       1    the answer stopped, or never began: ``text`` is what had come
"""

from __future__ import annotations

from typing import ClassVar

from provision.errors import FabricError, UnreachableError


class ClientError(FabricError):
    """Asking a model server failed."""

    code = "client"


class ConnectError(ClientError, UnreachableError):
    """Nobody answers at the address."""

    code = UnreachableError.code


class StatusError(ClientError):
    """The server refuses.

    ``status`` is the number of HTTP, ``said`` the server's own message in one line, ``retry_after_s`` how many seconds
    it asks to be left alone for.
    """

    code = "server-refused"
    hint_of_kind: ClassVar[str | None] = None

    def __init__(self, where: str, status: int, said: str, retry_after_s: float | None = None) -> None:
        super().__init__(f"{where} answers {status}: {said}", self.hint_of_kind or _hint_of(status))
        self.status, self.said, self.retry_after_s = status, said, retry_after_s

    @staticmethod
    def of(where: str, status: int, said: str, retry_after_s: float | None = None) -> StatusError:
        """Return the error for ``status``."""
        return _KINDS.get(status, StatusError)(where, status, said, retry_after_s)


def _hint_of(status: int) -> str:
    if status >= 500:
        return "See the server's log; ask again later."
    return (
        "Change what is asked for as the server says." if status >= 400 else "See that the base URL is the right one."
    )


class AuthenticationError(StatusError):
    """The API key is missing, or not the right one."""

    code = "authentication"
    hint_of_kind = "Give the server's API key."


class NotFoundError(StatusError):
    """There is no such model, or the server does not have this API."""

    code = "not-found"
    hint_of_kind = "See the names of its models, and that its base URL ends in /v1."


class RateLimitError(StatusError):
    """Too many requests."""

    code = "rate-limit"
    hint_of_kind = "Ask more slowly, or again later."


class UnavailableError(StatusError):
    """The server loads its model still, or is full."""

    code = "unavailable"
    hint_of_kind = "Ask again in a moment."


_KINDS: dict[int, type[StatusError]] = {
    401: AuthenticationError,
    403: AuthenticationError,
    404: NotFoundError,
    429: RateLimitError,
    503: UnavailableError,
}


class AnswerError(ClientError):
    """What came is no answer: a page of HTML, words, JSON of another shape, or nothing."""

    code = "not-an-answer"


class BrokenStreamError(ClientError):
    """The answer stopped in the middle, or never began: the connection ended, or the server reports an error.

    ``text`` is the answer as far as it had come.
    """

    code = "broken-stream"

    def __init__(self, message: str, hint: str | None = None, text: str = "") -> None:
        super().__init__(message, hint)
        self.text = text
