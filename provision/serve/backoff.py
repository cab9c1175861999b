"""When to try again, and when to give up. Pure: times are seconds on any steady clock."""

from __future__ import annotations

from collections.abc import Sequence

FIRST_DELAY_S = 1.0
MAX_DELAY_S = 60.0
GIVE_UP_AFTER = 5
WINDOW_S = 600.0


def next_delay(crashes: Sequence[float], now: float) -> float | None:
    """Return the seconds to wait before the next start; ``None`` means crash loop: stop trying.

    ``crashes`` are the times of all ends so far, the newest included. The delay doubles with every crash
    within the window and starts over after a quiet one.
    """
    recent = sum(1 for at in crashes if now - at <= WINDOW_S)
    if recent >= GIVE_UP_AFTER:
        return None
    return min(MAX_DELAY_S, FIRST_DELAY_S * float(2 ** max(0, recent - 1)))
