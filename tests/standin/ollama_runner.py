"""The models that the stand-in has in memory: one ``lib/ollama/llama-server`` process each, as upstream has them."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from tests.standin.ollama_disk import MODEL, PARAMS, Disk, Kept, RefusalError
from tests.standin.ollama_pieces import Piece, pieces, whole

LOAD_TIMEOUT_S = 120.0
ERRORS = ("error:", "Error:", "error loading model", "GGML_ASSERT", "llama_init_from_model:", "CUDA error")
BUSY = "server busy, please try again.  maximum pending requests exceeded"
FOR_EVER_S = 100 * 365 * 86400.0
UNITS = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


def seconds(value: Any) -> float:
    """A keep-alive: a number of seconds, or a duration such as ``5m``; what is negative is for ever."""
    text = str(value)
    unit = next((unit for unit in ("ms", "us", "ns", "s", "m", "h") if text.endswith(unit)), "")
    number = float(text.removesuffix(unit)) * UNITS.get(unit, 1.0)
    return FOR_EVER_S if number < 0 else number


@dataclass
class Runner:
    kept: Kept
    key: tuple[str, int]
    process: subprocess.Popen[str]
    port: int
    expires: datetime = field(default_factory=lambda: datetime.now(timezone.utc))
    said: list[str] = field(default_factory=list)

    def listen(self) -> None:
        assert self.process.stderr
        for line in self.process.stderr:
            sys.stderr.write(line)
            sys.stderr.flush()
            if line.startswith(ERRORS) or "failed to load model" in line:
                self.said.append(line.strip())

    def chat(self, body: dict[str, Any]) -> Iterator[Piece]:
        at_once = "response_format" in body
        request = {**body, "stream": not at_once, "stream_options": {"include_usage": True}}
        if at_once:
            del request["stream_options"]
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=LOAD_TIMEOUT_S)
        try:
            sent = {"Content-Type": "application/json"}
            connection.request("POST", "/v1/chat/completions", json.dumps(request), sent)
            answer = connection.getresponse()
            if answer.status != 200:
                raise RefusalError(answer.status, str(json.loads(answer.read())["error"]["message"]))
            yield from [whole(json.loads(answer.read()))] if at_once else pieces(answer)
        except (OSError, http.client.HTTPException) as error:
            raise RefusalError(500, f"model runner has unexpectedly stopped, {error}") from error
        finally:
            connection.close()


class Scheduler:
    """Starts a runner for a model and a context when it is asked for, and ends it when its time is over."""

    def __init__(self, disk: Disk, executable: Path) -> None:
        self.disk, self.executable = disk, executable
        self.runners: dict[str, Runner] = {}
        self.lock = threading.RLock()
        self.parallel = int(os.environ.get("OLLAMA_NUM_PARALLEL") or 1)
        threading.Thread(target=self._expire, daemon=True).start()

    def loaded(self) -> list[Runner]:
        with self.lock:
            return [runner for runner in self.runners.values() if runner.process.poll() is None]

    def context(self, kept: Kept, options: dict[str, Any]) -> int:
        params = self.disk.json(kept, PARAMS)
        chosen = options.get("num_ctx") or params.get("num_ctx") or os.environ.get("OLLAMA_CONTEXT_LENGTH") or 4096
        return max(4, int(chosen))

    def use(self, kept: Kept, options: dict[str, Any], keep_alive: Any) -> Runner:
        """Return a runner that is ready; its time begins anew."""
        model = self.disk.layer(kept, MODEL)
        if model is None or not model.exists():
            raise RefusalError(500, f"open {model}: no such file or directory")
        if "odd-busy" in {kept.name.model, os.environ.get("STANDIN_OLLAMA_FAULT")}:
            raise RefusalError(503, BUSY)
        key = (str(model), self.context(kept, options))
        with self.lock:
            runner = self.runners.get(key[0])
            if runner is None or runner.key != key or runner.process.poll() is not None:
                self._end(key[0])
                runner = self.runners[key[0]] = self._start(kept, key)
            time_left = seconds(os.environ.get("OLLAMA_KEEP_ALIVE") or "5m" if keep_alive is None else keep_alive)
            runner.expires = datetime.now(timezone.utc) + timedelta(seconds=time_left)
        return runner

    def unload(self, kept: Kept) -> None:
        with self.lock:
            self._end(str(self.disk.layer(kept, MODEL)))

    def end_all(self) -> None:
        with self.lock:
            for key in list(self.runners):
                self._end(key)

    def _expire(self) -> None:
        while True:
            time.sleep(0.1)
            now = datetime.now(timezone.utc)
            with self.lock:
                for key in [key for key, runner in self.runners.items() if runner.expires <= now]:
                    self._end(key)

    def _end(self, key: str) -> None:
        runner = self.runners.pop(key, None)
        if runner:
            runner.process.kill()  # as upstream does
            runner.process.wait()

    def _start(self, kept: Kept, key: tuple[str, int]) -> Runner:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        slots = ["-c", str(key[1] * self.parallel), "-np", str(self.parallel)]
        argv = [
            self._program(),
            "--model",
            key[0],
            "--port",
            str(port),
            "--host",
            "127.0.0.1",
            "--no-webui",
            "--offline",
        ]
        cache = os.environ.get("OLLAMA_KV_CACHE_TYPE")
        argv += [*slots, *(["--cache-type-k", cache, "--cache-type-v", cache] if cache else [])]
        print(f'time=now level=INFO msg="starting llama-server" cmd="{" ".join(argv)}"', file=sys.stderr, flush=True)
        child = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, errors="replace")
        runner = Runner(kept, key, child, port)
        reader = threading.Thread(target=runner.listen, daemon=True)
        reader.start()
        self._wait(runner, reader)
        return runner

    def _program(self) -> str:
        places = [self.executable.parent / up / "lib" / "ollama" / "llama-server" for up in ("..", ".")]
        found = next((place for place in places if place.is_file()), None)
        if found is None:
            checked = ", ".join(os.path.normpath(place) for place in places)
            build = "cmake -S llama/server --preset cpu && cmake --build --preset cpu"
            raise RefusalError(500, f"llama-server binary not found (checked: {checked}). Run '{build}' first")
        return os.path.normpath(found)

    def _wait(self, runner: Runner, reader: threading.Thread) -> None:
        deadline = time.monotonic() + LOAD_TIMEOUT_S
        while time.monotonic() < deadline:
            if runner.process.poll() is not None:
                reader.join(5)
                raise RefusalError(500, self._died(runner))
            if _healthy(runner.port):
                return
            time.sleep(0.02)
        runner.process.kill()
        raise RefusalError(500, "timed out waiting for llama-server to start - ")

    @staticmethod
    def _died(runner: Runner) -> str:
        code = runner.process.returncode
        status = f"signal: {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"
        said = "\n".join(runner.said)
        text = f"llama-server process has terminated: {status}" + (f": {said}" if said else "")
        if "failed to load model" in said:
            advice = f"`ollama pull {runner.kept.name.short}`"
            text += (
                ": this model may be incompatible with your version of Ollama. "
                f"If you previously pulled this model, try updating it by running {advice}"
            )
        return text


def _healthy(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
