"""What the smoke test saw. The values of ``bench`` are in ``benchmark.py``: ``up`` need not load those."""

from __future__ import annotations

from provision.domain.frozen import frozen


@frozen
class SmokeCheck:
    """One surface of the server. ``detail`` is what was seen or, where it failed, what failed and what was said."""

    name: str
    ok: bool
    detail: str
    duration_ms: float


@frozen
class SmokeReport:
    """Every required check, in the order in which they were made."""

    checks: tuple[SmokeCheck, ...]

    @property
    def ok(self) -> bool:
        """Whether there is a check and all of them passed."""
        return bool(self.checks) and all(check.ok for check in self.checks)
