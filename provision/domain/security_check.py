"""One promise about security, looked at on this machine now."""

from __future__ import annotations

from enum import Enum

from provision.domain.frozen import frozen


class Outcome(str, Enum):
    """``warning`` is worth to be known, and no promise is broken by it.

    ``unknown`` where it cannot be seen, or there is nothing to look at.
    """

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"
    UNKNOWN = "unknown"


@frozen
class SecurityCheck:
    """``code`` never changes; ``evidence`` is what was seen, ``fix`` what to do where the check failed or warns."""

    code: str
    outcome: Outcome
    evidence: str
    fix: str = ""
