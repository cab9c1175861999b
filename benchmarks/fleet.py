"""What planning costs for each of many machines, and whether a larger fleet costs more a machine.

    .venv/bin/python -m benchmarks.fleet [MACHINES]

Writes facts files of the captured machines under tests/hosts, over and over, and plans for a tenth and for all of
them in one process each, less the time of a process that plans for one.
"""

from __future__ import annotations

import itertools
import json
import statistics
import sys
import tempfile
from pathlib import Path

import msgspec

from benchmarks.timing import wall_s
from provision.errors import FabricError
from provision.facts.stored import read_facts

HOSTS = Path(__file__).parent.parent / "tests" / "hosts"
LIMIT_MS = 2.0
ROUNDS = 5
PLAN = """
import os, sys
from pathlib import Path
from provision.app import Fabric
from provision.domain.spec import Spec
from provision.host.layout import locate
fabric = Fabric(locate(sys.argv[1] + "/prefix", os.environ), os.environ, None)
planned = sum(1 for _ in fabric.matrix(Spec(), [Path(sys.argv[1])]))
assert planned == int(sys.argv[2]), planned
"""


def main() -> int:
    machines = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    with tempfile.TemporaryDirectory() as scratch:
        fleets = {size: fleet(Path(scratch, str(size)), size) for size in (1, machines // 10, machines)}
        costs = {size: [] for size in fleets}  # type: dict[int, list[float]]
        for _ in range(ROUNDS):
            for size, directory in fleets.items():
                costs[size].append(wall_s([sys.executable, "-c", PLAN, str(directory), str(size)]))
    medians = {size: statistics.median(taken) for size, taken in costs.items()}
    alone = medians.pop(1)
    each_ms = {size: (taken - alone) / (size - 1) * 1000 for size, taken in medians.items()}
    for size, cost in each_ms.items():
        print(f"{size:>6} machines: {cost:.2f} ms each (limit {LIMIT_MS})")
    small, large = each_ms.values()
    print(f"a machine in the large fleet costs {large / small:.2f} times one in the small (limit 1.5)")
    return int(large > LIMIT_MS or large / small > 1.5)


def fleet(directory: Path, size: int) -> Path:
    """Write ``size`` facts files and return where."""
    directory.mkdir()
    for number, document in zip(range(size), itertools.cycle(documents()), strict=False):
        (directory / f"host{number:05}.json").write_text(document, encoding="utf-8")
    return directory


def documents() -> list[str]:
    found = []
    for host in sorted(HOSTS.iterdir()):
        try:
            facts = msgspec.to_builtins(read_facts(host))
        except FabricError as error:
            print(f"{host.name} is left out: {error}")
            continue
        found.append(json.dumps({"schema": "fabric.facts/v1", **facts}))
    return found


if __name__ == "__main__":
    sys.exit(main())
