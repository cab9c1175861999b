"""How fast `fabric verify` reads the store, beside a bare SHA-256 of the same bytes in the same process.

    .venv/bin/python -m benchmarks.verify [ROUNDS]

Needs something installed in the default prefix, or in FABRIC_HOME: run `fabric up` first. The files are in the page
cache after the first round, so that what is compared is the work and not the disk. What is bare is a loop that reads
with a buffer of one MiB: it looks at no record, compares nothing and tells nobody. The whole command is shown too; it
also loads Python and fabric, which counts beside a small store.
"""

from __future__ import annotations

import hashlib
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.timing import interleaved, report, wall_s
from provision.apply.state import read_state
from provision.apply.verify import Verified, verify
from provision.host.layout import locate

BUFFER_BYTES = 1 << 20
LIMIT = 1.1


def bare(paths: list[Path]) -> None:
    """Hash every file."""
    buffer = memoryview(bytearray(BUFFER_BYTES))
    for path in paths:
        digest = hashlib.sha256()
        with path.open("rb", buffering=0) as file:
            while count := file.readinto(buffer):
                digest.update(buffer[:count])


def seconds(act: Callable[[], object]) -> float:
    """Return how long it takes."""
    started = time.perf_counter()
    act()
    return time.perf_counter() - started


def main() -> int:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 11
    layout = locate(None, os.environ)
    state = read_state(layout)
    assert state is not None, "nothing is installed here: run `fabric up` first"
    roots = [layout.prefix / entry.path for entry in state.entries.values()]
    stored = [
        root / file.path if file.path else root
        for root, entry in zip(roots, state.entries.values(), strict=True)
        for file in entry.files
    ]
    paths = [path for path in stored if path.is_file() and not path.is_symlink()]

    def whole() -> Verified:
        return verify(layout, state, lambda _: lambda _: None)

    assert not whole().problems, "the store is damaged: see `fabric verify`"
    print(f"{len(paths)} files, {sum(path.stat().st_size for path in paths) / 1e6:.0f} MB")
    command = [str(Path(sys.executable).with_name("fabric")), "verify"]
    measures = {
        "bare SHA-256": lambda: seconds(lambda: bare(paths)),
        "verify": lambda: seconds(whole),
        "fabric verify": lambda: wall_s(command),
    }
    base = dict.fromkeys(("verify", "fabric verify"), "bare SHA-256")
    return report(interleaved(measures, rounds), base, {"verify": LIMIT})


if __name__ == "__main__":
    sys.exit(main())
