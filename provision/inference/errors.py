"""Errors by the names of Ollama's own package, and what becomes of those of ``provision.client``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from provision.client.errors import ClientError, ConnectError, StatusError
from provision.errors import FabricError

UNKNOWN_STATUS = -1
NOT_IMPLEMENTED = 501


class RequestError(Exception):
    """What was asked for cannot be sent. ``error`` says why."""

    def __init__(self, error: str) -> None:
        super().__init__(error)
        self.error = error


class ResponseError(Exception):
    """The server refuses, or fails. ``error`` is its own message, ``status_code`` the number of HTTP, else -1."""

    def __init__(self, error: str, status_code: int = UNKNOWN_STATUS) -> None:
        super().__init__(error)
        self.error = error
        self.status_code = status_code

    def __str__(self) -> str:
        return f"{self.error} (status code: {self.status_code})"


@contextmanager
def in_its_words() -> Iterator[None]:
    """Raise the errors of ``provision.client`` as callers of this API know them.

    ``ConnectionError``, Python's own, where nobody answers; ``RequestError`` for what is wrong before anything is sent.
    """
    try:
        yield
    except ConnectError as error:
        raise ConnectionError(_whole(error)) from error
    except StatusError as error:
        raise ResponseError(error.said, error.status) from error
    except ClientError as error:
        raise ResponseError(_whole(error)) from error
    except FabricError as error:
        raise RequestError(_whole(error)) from error


def _whole(error: FabricError) -> str:
    return f"{error.message} {error.hint}" if error.hint else error.message
