"""What knowing the machine costs, beside a process that only imports typer and beside two peers that tell as much.

    .venv/bin/python -m benchmarks.detection [ROUNDS]

The peers are run where they are found: `oldiron` and `llamafit` on PATH, from an environment of their own
(`uv tool install oldiron`, `uv tool install llamafit`); what is not there is left out and named.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from benchmarks.timing import interleaved, report, wall_s

PEERS = {"oldiron": ("doctor", "--json"), "llamafit": ("--json", "system")}


def main() -> int:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 11
    python, fabric = sys.executable, str(Path(sys.executable).with_name("fabric"))
    measures: dict[str, Callable[[], float]] = {
        "import typer": lambda: wall_s([python, "-c", "import typer"]),
        "fabric facts --json": lambda: wall_s([fabric, "facts", "--json"]),
        "fabric doctor --json": lambda: wall_s([fabric, "doctor", "--json"]),
    }
    base = {"fabric facts --json": "import typer", "fabric doctor --json": "import typer"}
    for name, arguments in PEERS.items():
        if program := shutil.which(name):
            measures[name] = lambda argv=(program, *arguments): wall_s(argv)  # type: ignore[misc]
            base[name] = "fabric facts --json"
        else:
            print(f"{name} is not on PATH and is left out")
    return report(interleaved(measures, rounds), base, {"fabric facts --json": 2.0})


if __name__ == "__main__":
    sys.exit(main())
