from __future__ import annotations

import pytest

from provision.serve.backoff import GIVE_UP_AFTER, MAX_DELAY_S, WINDOW_S, next_delay


@pytest.mark.parametrize(
    ("crashes", "delay"),
    [
        ([0.0], 1.0),
        ([0.0, 2.0], 2.0),
        ([0.0, 2.0, 5.0], 4.0),
        ([0.0, 2.0, 5.0, 10.0], 8.0),
        ([0.0, 2.0, 5.0, 10.0, 19.0], None),
        ([0.0, WINDOW_S + 1], 1.0),
        ([0.0, 1.0, 2.0, 3.0, WINDOW_S + 1.5], 4.0),
        ([0.0, 1.0, 2.0, 3.0, WINDOW_S + 4.0], 1.0),
    ],
    ids=["first", "second", "third", "fourth", "loop", "after a quiet time", "two left the window", "all left"],
)
def test_when_to_try_again(crashes: list[float], delay: float | None) -> None:
    assert next_delay(crashes, crashes[-1]) == delay


def test_it_never_waits_longer_than_the_limit_and_gives_up_in_the_end() -> None:
    crashes: list[float] = []
    delays = []
    while (delay := next_delay([*crashes, float(len(crashes))], float(len(crashes)))) is not None:
        delays.append(delay)
        crashes.append(float(len(crashes)))
    assert len(delays) == GIVE_UP_AFTER - 1
    assert max(delays) <= MAX_DELAY_S
    assert delays == sorted(delays)
