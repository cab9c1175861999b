"""The header ``Retry-After`` (RFC 9110, section 10.2.3): seconds, or a date. Pure."""

from __future__ import annotations

from datetime import timezone
from email.utils import parsedate_to_datetime


def seconds_asked(header: str | None, now: float) -> float | None:
    """Return the seconds to wait from ``now`` (since the epoch); ``None`` where the header does not say.

    A date without a zone is in UTC.
    """
    if not header:
        return None
    if header.strip().isdecimal():
        return float(header)
    try:
        date = parsedate_to_datetime(header)
        return max(0.0, (date if date.tzinfo else date.replace(tzinfo=timezone.utc)).timestamp() - now)
    except (ValueError, TypeError, OverflowError):
        return None
