"""What this very server process has already proved, so that a second ``up`` need not ask again."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from provision.domain.measure import SmokeReport
from provision.domain.server import Observation, ProcessIdentity
from provision.host.files import commit, explained, read_bytes
from provision.host.layout import Layout


@dataclass(frozen=True)
class Proved:
    """One process that generated a token, and the smoke test that it passed, if it did."""

    server: ProcessIdentity
    smoke: SmokeReport | None = None


class Proof:
    """The record of one prefix, ``run/proof.json``."""

    def __init__(self, layout: Layout) -> None:
        self._path = layout.run / "proof.json"

    def smoke(self, seen: Observation) -> SmokeReport | None:
        """Return the smoke test that this process passed; ``None`` where it has not."""
        proved = self._of(seen)
        return proved.smoke if proved else None

    def holds(self, seen: Observation) -> bool:
        """Tell whether this process has generated a token before."""
        return self._of(seen) is not None

    def ready(self, seen: Observation) -> None:
        """Record that this process generated a token."""
        if not self.holds(seen):
            self._write(seen, None)

    def passed(self, seen: Observation, report: SmokeReport) -> SmokeReport:
        """Record the smoke test where it was passed, and return it."""
        if report.ok:
            self._write(seen, report)
        return report

    def _of(self, seen: Observation) -> Proved | None:
        data = read_bytes(self._path)
        try:
            proved = msgspec.json.decode(data, type=Proved) if data else None
        except msgspec.MsgspecError:
            return None
        server = seen.runtime.server if seen.runtime else None
        return proved if proved and proved.server == server else None

    def _write(self, seen: Observation, report: SmokeReport | None) -> None:
        if seen.runtime and seen.runtime.server:
            with explained("recording what was proved"):
                commit(self._path, msgspec.json.encode(Proved(seen.runtime.server, report)))
