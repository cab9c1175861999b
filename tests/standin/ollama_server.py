"""Running an ``ollama`` program, the stand-in or the real one, for a test: with a home and models of its own."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from provision.host.endpoint import EndpointClient
from tests.standin.command import free_port

READY_TIMEOUT_S = 30.0


@dataclass
class OllamaServer:
    """A server that answers. ``log`` is what it printed so far."""

    base_url: str
    port: int
    home: Path
    models: Path
    process: subprocess.Popen[bytes]
    log_file: Path

    @property
    def log(self) -> str:
        return self.log_file.read_text(encoding="utf-8", errors="replace")

    def client(self, timeout_s: float = 30.0) -> EndpointClient:
        return EndpointClient(self.base_url, timeout_s=timeout_s)


def environment(directory: Path, port: int, changes: Mapping[str, str] | None = None) -> dict[str, str]:
    """What the program is started with: nothing of it lies outside ``directory``."""
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(directory / "home"),
        "OLLAMA_HOST": f"127.0.0.1:{port}",
        "OLLAMA_MODELS": str(directory / "models"),
        "OLLAMA_NO_CLOUD": "1",
        "OLLAMA_CONTEXT_LENGTH": "2048",
        **(changes or {}),
    }


@contextmanager
def serving_ollama(program: Path, directory: Path, changes: Mapping[str, str] | None = None) -> Iterator[OllamaServer]:
    """Serve until the end of the block."""
    (directory / "home").mkdir(parents=True, exist_ok=True)
    port = free_port()
    log = directory / "ollama.log"
    with log.open("ab") as output:
        process = subprocess.Popen(
            [program, "serve"],
            env=environment(directory, port, changes),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    url = f"http://127.0.0.1:{port}"
    server = OllamaServer(url, port, directory / "home", directory / "models", process, log)
    try:
        _wait(server)
        yield server
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait(server: OllamaServer) -> None:
    deadline = time.monotonic() + READY_TIMEOUT_S
    while server.client().get("/api/version").status != 200:
        assert server.process.poll() is None, server.log
        assert time.monotonic() < deadline, server.log
        time.sleep(0.02)
