"""How long a server may be silent, and when it is said to stand still, by a clock of the test's own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from pytest_mock import MockerFixture  # noqa: TC002 - fixtures are found by it

from provision.engines.ollama_answers import StreamLine
from provision.engines.ollama_progress import Following, StallLimits
from provision.errors import UnreachableError
from provision.host.endpoint import EndpointClient

LIMITS = StallLimits(idle_s=10, work_s=100)


class Answer:
    """An answer whose lines come at moments of a clock that the test made."""

    status = 200

    def __init__(self, lines: list[tuple[float, dict[str, Any]]]) -> None:
        self.told, self.now, self.allowed = lines, 0.0, list[float]()

    def allow_silence(self, timeout_s: float) -> None:
        self.allowed.append(timeout_s)

    def lines(self) -> Iterator[bytes]:
        for moment, line in self.told:
            self.now = moment
            yield json.dumps(line).encode()


def follow(mocker: MockerFixture, *lines: tuple[float, dict[str, Any]]) -> tuple[Answer, list[StreamLine]]:
    answer = Answer(list(lines))

    @contextmanager
    def post(*_: Any) -> Iterator[Answer]:
        yield answer

    mocker.patch("provision.engines.ollama_progress.post_for_lines", post)
    told: list[StreamLine] = []
    Following(EndpointClient("http://127.0.0.1:1"), "pulling x", LIMITS, told.append, clock=lambda: answer.now).run(
        "/api/pull", {}
    )
    return answer, told


def pulling(completed: int) -> dict[str, Any]:
    return {"status": "pulling aa", "digest": "sha256:aa", "total": 100, "completed": completed}


def test_hashing_and_writing_may_take_longer_than_bytes(mocker: MockerFixture) -> None:
    verifying, success = {"status": "verifying sha256 digest"}, {"status": "success"}
    answer, _ = follow(mocker, (0, pulling(1)), (5, verifying), (90, verifying), (99, success))
    assert answer.allowed == [LIMITS.idle_s, LIMITS.work_s, LIMITS.work_s]


def test_the_same_line_again_and_again_is_a_standstill(mocker: MockerFixture) -> None:
    """Ollama repeats the state of a download that does not move."""
    with pytest.raises(UnreachableError, match="again and again"):
        follow(mocker, *((float(moment), pulling(1)) for moment in range(12)), (12, {"status": "success"}))


def test_a_slow_transfer_is_no_standstill(mocker: MockerFixture) -> None:
    lines = [(moment * 9.0, pulling(moment)) for moment in range(12)]
    _, told = follow(mocker, *lines, (110, {"status": "success"}))
    assert [line.completed_bytes for line in told] == [*range(12), 0]


def test_a_line_is_told_once(mocker: MockerFixture) -> None:
    _, told = follow(mocker, (0, pulling(1)), (1, pulling(1)), (2, {"status": "success"}))
    assert len(told) == 2
