"""What this very server process has already proved, so that a second ``up`` need not ask again."""

from __future__ import annotations

import msgspec

from provision.domain.frozen import frozen
from provision.domain.measure import SmokeReport
from provision.domain.server import Observation, ProcessIdentity, Runtime
from provision.host.files import commit, explained
from provision.host.json_document import decoded
from provision.host.layout import Layout
from provision.host.reading import read_private


@frozen
class Proved:
    """One process that generated a token, and the smoke test that it passed, if it did; or why it generates none."""

    server: ProcessIdentity
    smoke: SmokeReport | None = None
    failure: str | None = None


class Proof:
    """The record of one prefix, ``run/proof.json``."""

    def __init__(self, layout: Layout) -> None:
        self._path = layout.run / "proof.json"

    def smoke(self, seen: Observation) -> SmokeReport | None:
        """Return the smoke test that this process passed; ``None`` where it has not."""
        proved = self._of(seen.runtime)
        return proved.smoke if proved else None

    def holds(self, seen: Observation) -> bool:
        """Tell whether this process has generated a token before."""
        proved = self._of(seen.runtime)
        return proved is not None and proved.failure is None

    def failure(self, runtime: Runtime | None) -> str | None:
        """Return why this process, which answers, is of no use all the same; ``None`` where nothing is known."""
        proved = self._of(runtime)
        return proved.failure if proved else None

    def ready(self, seen: Observation) -> None:
        """Record that this process generated a token."""
        if not self.holds(seen):
            self._write(seen, None)

    def failed(self, seen: Observation, reason: str) -> None:
        """Record that this process generates nothing."""
        self._write(seen, None, reason)

    def passed(self, seen: Observation, report: SmokeReport) -> SmokeReport:
        """Record the smoke test where it was passed, and return it."""
        if report.ok:
            self._write(seen, report)
        return report

    def _of(self, runtime: Runtime | None) -> Proved | None:
        data = read_private(self._path)
        try:
            proved = decoded(data, Proved) if data else None
        except msgspec.MsgspecError:
            return None
        server = runtime.server if runtime else None
        return proved if proved and proved.server == server else None

    def _write(self, seen: Observation, report: SmokeReport | None, failure: str | None = None) -> None:
        if seen.runtime and seen.runtime.server:
            with explained("recording what was proved"):
                commit(self._path, msgspec.json.encode(Proved(seen.runtime.server, report, failure)))
