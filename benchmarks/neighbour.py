"""What a busy neighbour costs, for several ways of waiting.

    .venv/bin/python -m benchmarks.neighbour [ROUNDS] [--settings]

Starts the served engine with its own configuration, idle and beside one process that uses a core, and prints
the time from the start of the server to the first answer, the time of an answer and the decode rate. With
--settings it also tries other numbers of threads and spin counts: that is how profiles/serving.yaml was chosen.
Needs a prefix with an installed engine: run `fabric up` first; its own server is not touched.
"""

from __future__ import annotations

import http.client
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PORT = 18572
ANSWER_TOKENS = 16
DECODE_TOKENS = 48


@dataclass(frozen=True)
class Setting:
    """Threads, and iterations that a waiting thread spins; ``None`` leaves the library's default."""

    threads: int
    spin_count: int | None

    def __str__(self) -> str:
        return f"{self.threads} threads, spin {'default' if self.spin_count is None else self.spin_count}"


@dataclass(frozen=True)
class Sample:
    """Seconds from start to the first answer, seconds of a later answer, tokens per second of decode."""

    first_s: float
    answer_s: float
    decode_per_s: float


def sample(server_file: dict[str, Any], parameters: dict[str, Any], setting: Setting, *, busy: bool) -> Sample:
    """Start a server of its own with this setting and measure it."""
    with tempfile.TemporaryDirectory() as scratch:
        changed = {"model_alias": "bench", "port": PORT}
        changed |= dict.fromkeys(("cpuparams.n_threads", "cpuparams_batch.n_threads"), setting.threads)
        settings = [{**s, "value": changed.get(s["names"][-1], s["value"])} for s in parameters["settings"]]
        described = Path(scratch, "parameters.json")
        described.write_text(json.dumps({**parameters, "settings": settings}), encoding="utf-8")
        env = {**os.environ, **server_file["env"]}
        env.pop("GOMP_SPINCOUNT", None)
        if setting.spin_count is not None:
            env["GOMP_SPINCOUNT"] = str(setting.spin_count)
        hog = subprocess.Popen([sys.executable, "-c", "while True: pass"]) if busy else None
        time.sleep(0.3)
        argv = [*server_file["argv"][:-1], str(described)]
        started = time.perf_counter()
        server = subprocess.Popen(argv, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            _ask("Say something.", ANSWER_TOKENS)
            first_s = time.perf_counter() - started
            began = time.perf_counter()
            _ask("Tell me about the sea.", ANSWER_TOKENS)
            answer_s = time.perf_counter() - began
            decode = _ask("And about the mountains?", DECODE_TOKENS)["predicted_per_second"]
        finally:
            server.terminate()
            server.wait()
            if hog:
                hog.kill()
                hog.wait()
    return Sample(first_s, answer_s, decode)


def _ask(prompt: str, tokens: int) -> dict[str, float]:
    body = json.dumps({"messages": [{"role": "user", "content": prompt}], "max_tokens": tokens, "ignore_eos": True})
    while True:
        connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=120)
        try:
            connection.request("POST", "/v1/chat/completions", body, {"Content-Type": "application/json"})
            response = connection.getresponse()
            if response.status == 200:
                timings: dict[str, float] = json.loads(response.read())["timings"]
                return timings
        except OSError:
            pass
        finally:
            connection.close()
        time.sleep(0.02)


def _own_setting(server_file: dict[str, Any], parameters: dict[str, Any]) -> Setting:
    threads = next(s["value"] for s in parameters["settings"] if "cpuparams.n_threads" in s["names"])
    spin = server_file["env"].get("GOMP_SPINCOUNT")
    return Setting(threads, int(spin) if spin else None)


def main() -> int:
    numbers = [int(argument) for argument in sys.argv[1:] if argument.isdigit()]
    rounds = numbers[0] if numbers else 5
    fabric = str(Path(sys.executable).with_name("fabric"))
    status = json.loads(subprocess.run([fabric, "status", "--json"], check=True, capture_output=True).stdout)
    current = Path(status["prefix"], "current")
    server_file = json.loads((current / "server.json").read_text(encoding="utf-8"))
    parameters = json.loads((current / "parameters.json").read_text(encoding="utf-8"))
    own = _own_setting(server_file, parameters)
    settings = [own]
    if "--settings" in sys.argv:
        cores = len(os.sched_getaffinity(0))
        settings += [Setting(cores, spin) for spin in (None, 0, 100, 200, 300, 400, 500, 1000, 10000)]
        settings += [Setting(max(1, cores - 1), None)]
    taken: dict[tuple[Setting, bool], list[Sample]] = {}
    for _ in range(rounds):
        for busy in (False, True):
            for setting in settings:
                taken.setdefault((setting, busy), []).append(sample(server_file, parameters, setting, busy=busy))
    print(f"{'setting':<30}{'':<6}{'first s':>9}{'ratio':>7}{'answer s':>10}{'ratio':>7}{'decode/s':>10}")
    for setting in settings:
        idle = taken[setting, False]
        for busy in (False, True):
            samples = taken[setting, busy]
            first, answer = _median(samples, "first_s"), _median(samples, "answer_s")
            print(
                f"{setting!s:<30}{'busy' if busy else 'idle':<6}{first:9.2f}{first / _median(idle, 'first_s'):7.2f}"
                f"{answer:10.2f}{answer / _median(idle, 'answer_s'):7.2f}{_median(samples, 'decode_per_s'):10.1f}"
            )
    return int(_median(taken[own, True], "first_s") > 2 * _median(taken[own, False], "first_s"))


def _median(samples: list[Sample], name: str) -> float:
    return float(statistics.median(getattr(sample, name) for sample in samples))


if __name__ == "__main__":
    sys.exit(main())
