"""The header ``Retry-After`` (RFC 9110, section 10.2.3): seconds, or a date. Pure."""

from __future__ import annotations

from email.utils import parsedate_to_datetime


def seconds_asked(header: str | None, now: float) -> float | None:
    """Return the seconds to wait from ``now`` (since the epoch); ``None`` where the header does not say."""
    if not header:
        return None
    if header.strip().isdecimal():
        return float(header)
    try:
        return max(0.0, parsedate_to_datetime(header).timestamp() - now)
    except (ValueError, TypeError, OverflowError):
        return None
