"""The errors of a client: what each says to do, and that it reaches another process as it is."""

from __future__ import annotations

import copy
import pickle

import pytest

from provision.client import AnswerError, BrokenStreamError, ClientError, ConnectError, StatusError
from provision.client.options import UnsupportedOptionError
from provision.errors import FabricError, UnavailableError

STATUSES = [302, 400, 401, 404, 422, 429, 500, 502, 503, 504]
ERRORS: list[FabricError] = [
    ConnectError("x", "y"),
    AnswerError("x"),
    BrokenStreamError("x", "y", "text"),
    *(StatusError.of("http://127.0.0.1:1/v1", status, "no", 1.5) for status in STATUSES),
    UnsupportedOptionError(["top_k"], "vllm", "x", "y"),
    UnavailableError("b9000", "x", "y", is_place=True),
]


@pytest.mark.parametrize("error", ERRORS, ids=repr)
def test_an_error_is_the_same_after_it_was_copied_or_sent_to_another_process(error: FabricError) -> None:
    for other in (pickle.loads(pickle.dumps(error)), copy.copy(error)):  # noqa: S301 - its own bytes
        assert (type(other), str(other), other.args, vars(other)) == (type(error), str(error), error.args, vars(error))


@pytest.mark.parametrize("status", STATUSES)
def test_every_refusal_says_what_to_do(status: int) -> None:
    error: ClientError = StatusError.of("http://127.0.0.1:1/v1", status, "no")
    assert error.hint
