"""The engines that this machine can have, side by side: from a stopped server to the first token, and decoding.

    .venv/bin/python -m benchmarks.engines [ROUNDS] [ENGINE ...]

Each engine (llamacpp and vllm, unless others are named) is installed into a prefix of its own with the same small
model; then, in turn, its server is started, measured by `fabric bench`, and stopped. Ratios are to the first engine,
within one round. What an engine needs is fetched from where pip is told to look: 500 MB for vLLM.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.timing import interleaved, report

FABRIC = str(Path(sys.executable).with_name("fabric"))
WISH = ("--model", "smollm2-135m", "--context", "2048", "--port", "0")
LEVEL = ("--concurrency", "1", "--repeats", "3", "--output-tokens", "32")


def fabric(prefix: Path, *arguments: str) -> Any:
    """Run the command, which must end well, and return its document."""
    argv = [FABRIC, *arguments, "--home", str(prefix), "--json"]
    return json.loads(subprocess.run(argv, cwd=prefix.parent, check=True, stdout=subprocess.PIPE).stdout)


def measures_of(engine: str, prefix: Path) -> dict[str, Callable[[], float]]:
    """Return how to measure one engine that is installed and stopped; both leave it so."""

    def start() -> float:
        started = time.perf_counter()
        fabric(prefix, "up", "--backend", engine, "--no-smoke", *WISH)
        return time.perf_counter() - started

    def token() -> float:
        (level,) = fabric(prefix, "bench", *LEVEL)["levels"]
        fabric(prefix, "down")
        return 1 / float(level["output_tokens_per_s"])

    return {f"{engine}: start": start, f"{engine}: one token": token}


def main() -> int:
    numbers = [int(argument) for argument in sys.argv[1:] if argument.isdigit()]
    engines = [argument for argument in sys.argv[1:] if not argument.isdigit()] or ["llamacpp", "vllm"]
    with tempfile.TemporaryDirectory() as scratch:
        prefixes = {engine: Path(scratch, engine) for engine in engines}
        try:
            for engine, prefix in prefixes.items():
                up = fabric(prefix, "up", "--backend", engine, "--no-smoke", *WISH)
                fabric(prefix, "down")
                print(f"{engine} {up['engine_version']} on {up['acceleration']}, installed")
            measures = [measures_of(engine, prefix) for engine, prefix in prefixes.items()]
            samples = interleaved({k: v for each in measures for k, v in each.items()}, numbers[0] if numbers else 3)
        finally:
            for prefix in prefixes.values():
                fabric(prefix, "destroy", "--yes")
    base = {f"{engine}: {what}": f"{engines[0]}: {what}" for engine in engines[1:] for what in ("start", "one token")}
    return report(samples, base, {})


if __name__ == "__main__":
    sys.exit(main())
