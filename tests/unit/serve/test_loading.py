"""Waiting for a server of somebody else's until it has loaded."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from provision.errors import UnreachableError
from provision.select.external import StillLoadingError
from provision.serve.loading import when_loaded
from provision.serve.waiting import ServerFailedError

URL = "http://127.0.0.1:1234/v1"


def loaded_after(looks: int) -> Callable[[], str]:
    """Something to look at that is still loading for so many looks."""
    left = [StillLoadingError(URL)] * looks

    def look() -> str:
        if left:
            raise left.pop()
        return "loaded"

    return look


@pytest.mark.parametrize("timeout_s", [None, 0.0, 5.0])
def test_what_has_loaded_costs_no_time_and_no_word(timeout_s: float | None) -> None:
    said: list[str] = []
    assert when_loaded(loaded_after(0), timeout_s, said.append) == ("loaded", timeout_s)
    assert said == []


def test_what_is_loading_is_waited_for_and_told_once() -> None:
    said: list[str] = []
    assert when_loaded(loaded_after(2), None, said.append) == ("loaded", None)
    assert said == [f"The server at {URL} is still loading its model. Waiting for it, 120 s at most"]


def test_the_wait_is_taken_from_the_time_that_was_given() -> None:
    looked, left_s = when_loaded(loaded_after(2), 5.0, lambda _: None)
    assert looked == "loaded"
    assert left_s is not None
    assert 3.0 < left_s < 4.5


@pytest.mark.parametrize(
    ("timeout_s", "unsaid_s", "told"), [(0.6, 99.0, "0.6 s"), (None, 0.6, "0.6 s"), (0.0, 99.0, "0 s")]
)
def test_it_is_not_waited_for_longer_than_that(timeout_s: float | None, unsaid_s: float, told: str) -> None:
    began = time.monotonic()
    with pytest.raises(ServerFailedError, match=f"still loading its model after {told}"):
        when_loaded(loaded_after(99), timeout_s, lambda _: None, unsaid_s)
    assert time.monotonic() - began < 3


def test_a_server_that_ends_over_it_is_waited_for_no_longer() -> None:
    def look() -> str:
        raise errors.pop(0)

    errors = [StillLoadingError(URL), UnreachableError("No model server answers.")]
    with pytest.raises(UnreachableError, match="No model server answers"):
        when_loaded(look, None, lambda _: None)
