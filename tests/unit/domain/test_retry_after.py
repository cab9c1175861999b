from __future__ import annotations

import datetime as dt
import math
import time
from collections.abc import Iterator
from email.utils import format_datetime

import pytest

from provision.domain.retry_after import seconds_asked

NOW = dt.datetime(2026, 11, 22, tzinfo=dt.timezone.utc)


def at(seconds: int) -> str:
    return format_datetime(NOW + dt.timedelta(seconds=seconds), usegmt=True)


@pytest.fixture(autouse=True)
def far_east(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Have this process live in another zone than UTC."""
    with monkeypatch.context() as there:
        there.setenv("TZ", "Asia/Tokyo")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("999999999999", 999999999999.0),
        ("1" * 5000, math.inf),
        ("-5", None),
        (" 0 ", 0.0),
        ("soon", None),
        ("", None),
        (None, None),
        ("٣", 3.0),
        (at(90), 90.0),
        (at(90).replace("GMT", "-0000"), 90.0),
        (at(90).replace(" GMT", ""), 90.0),
        (at(-90), 0.0),
        ("Mon, 99 Foo 99999999999", None),
    ],
)
def test_seconds_and_dates_are_understood(header: str | None, seconds: float | None) -> None:
    assert seconds_asked(header, NOW.timestamp()) == seconds
