"""A server that is not there yet, and the command that starts it."""

from __future__ import annotations

import os
import shlex
import signal
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import aiohttp  # noqa: F401 - loaded with the first request, which some tests give a tenth of a second
import pytest

from provision.domain.client_config import ClientConfig
from tests.standin import late_server
from tests.standin.command import free_port


@dataclass(frozen=True)
class LateServer:
    """Where it will be, and the environment in which it is wanted; ``starts`` has a line for each of its starts."""

    base_url: str
    starts: Path
    env: dict[str, str]

    def config(self, *options: str, ensure: bool = True, key: str | None = None) -> ClientConfig:
        """Return what a client is told; ``options`` are those of ``late_server``."""
        port = self.base_url.rpartition(":")[2].partition("/")[0]
        line = shlex.join([sys.executable, str(late_server.__file__), port, str(self.starts), *options])
        return ClientConfig(self.base_url, "late", key, line, local_llm_ensure_available=ensure)

    def pids(self) -> list[int]:
        """The processes that were started."""
        return [int(line) for line in self.starts.read_text("ascii").split()] if self.starts.exists() else []


@pytest.fixture
def late(tmp_path: Path) -> Iterator[LateServer]:
    """A server that nobody has started. What was started is ended afterwards."""
    runtime = tmp_path / "runtime"
    runtime.mkdir()
    env = {**os.environ, "XDG_RUNTIME_DIR": str(runtime)}
    server = LateServer(f"http://127.0.0.1:{free_port()}/v1", tmp_path / "starts", env)
    yield server
    for pid in server.pids():
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
