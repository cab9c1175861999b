"""How much the command line costs beside a process that only imports typer.

    .venv/bin/python -m benchmarks.command_line [ROUNDS]

Needs a served model in the default prefix, or in FABRIC_HOME: run `fabric up` first. `plan` on a host where nothing
changed may take 3.5 times as long as the import. What it takes is the loading of modules, of which a hundred
dataclasses are the largest part, and of the data files; `python -X importtime -m provision plan` shows which.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

from benchmarks.timing import interleaved, report, wall_s

TWO_COMMANDS = """
import typer
app = typer.Typer()
@app.command()
def one(name: str = "x"):
    "Do one thing."
@app.command()
def two(count: int = 1):
    "Do another."
app()
"""


def main() -> int:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 15
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}  # as installed
    python, fabric = sys.executable, str(Path(sys.executable).with_name("fabric"))
    with tempfile.TemporaryDirectory() as scratch:
        two = Path(scratch, "two_commands.py")
        two.write_text(TWO_COMMANDS, encoding="utf-8")
        samples = interleaved(
            {
                "import typer": lambda: wall_s([python, "-c", "import typer"], env),
                "help of two commands": lambda: wall_s([python, str(two), "--help"], env),
                "fabric --version": lambda: wall_s([fabric, "--version"], env),
                "fabric status": lambda: wall_s([fabric, "status"], env),
                "fabric up (nothing to do)": lambda: wall_s([fabric, "up"], env),
                "fabric plan (no changes)": lambda: wall_s([fabric, "plan"], env),
                "fabric --help": lambda: wall_s([fabric, "--help"], env),
            },
            rounds,
        )
    importing = "import typer"
    limits = {
        "fabric --version": 1.3,
        "fabric status": 2.0,
        "fabric up (nothing to do)": 3.5,
        "fabric plan (no changes)": 3.5,
        "fabric --help": 1.3,
    }
    return report(samples, {**dict.fromkeys(limits, importing), "fabric --help": "help of two commands"}, limits)


if __name__ == "__main__":
    sys.exit(main())
