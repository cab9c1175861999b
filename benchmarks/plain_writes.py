"""The ``fabric`` command without what makes it survive a power cut: no fsync, and with `no-journal` no journal.

    python benchmarks/plain_writes.py fsync|no-fsync|no-journal [fabric's arguments]

For durability.py alone: what is left out here is no option of fabric. With `fsync` nothing is left out.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))


def main() -> int:
    """Run ``fabric``."""
    leaving_out = sys.argv.pop(1)
    if leaving_out != "fsync":
        vars(os)["fsync"] = lambda _: None
    if leaving_out == "no-journal":
        from provision.apply import journal

        vars(journal)["append_synced"] = lambda *_: None
    from provision.cli.main import run

    return run()


if __name__ == "__main__":
    sys.exit(main())
