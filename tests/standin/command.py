"""Running ``fabric`` as a user does: a process of its own, a home of its own, and nothing left afterwards."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

TIMEOUT_S = 120.0
# Where models and releases come from is out of reach, unless a test names a place that answers.
MIRRORS = tuple(f"FABRIC_MIRROR_{name}" for name in ("GITHUB", "GITHUB_API", "HUGGINGFACE", "OLLAMA_REGISTRY"))
NOBODY = "http://127.0.0.1:9"
_NOT_INHERITED = ("PIP_", "UV_", "FABRIC_", "XDG_", "STANDIN_", "OPENAI_")


@dataclass
class Ran:
    """All that was run in this process since it was last cleared, for who looks at what one test has left."""

    commands: list[tuple[Fabric, tuple[str, ...]]] = field(default_factory=list)
    outcomes: list[Outcome] = field(default_factory=list)

    def clear(self) -> None:
        """Forget all of it."""
        self.commands.clear()
        self.outcomes.clear()


@dataclass(frozen=True)
class Outcome:
    """How one run ended; ``debugged``: a traceback was asked for."""

    returncode: int
    stdout: str
    stderr: str
    took_s: float = 0.0
    debugged: bool = False

    @property
    def json(self) -> Any:
        """The one document on stdout."""
        return json.loads(self.stdout)

    @property
    def said(self) -> str:
        """Both outputs, for assertion messages."""
        return f"exit {self.returncode}\n{self.stdout}\n{self.stderr}"


@dataclass
class Fabric:
    """The command with one prefix. ``program`` is what comes before its arguments."""

    prefix: Path
    home: Path
    index_url: str
    program: tuple[str, ...] = (sys.executable, "-m", "provision")
    variables: dict[str, str] = field(default_factory=dict)

    def environment(self, changes: Mapping[str, str | None] | None = None) -> dict[str, str]:
        """This environment without what would make a run depend on the machine; ``None`` unsets a variable."""
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(_NOT_INHERITED) and not name.lower().endswith("_proxy")
        }
        own = {
            "HOME": str(self.home),
            "FABRIC_HOME": str(self.prefix),
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_INDEX_URL": self.index_url,
            **dict.fromkeys(MIRRORS, NOBODY),
        }
        merged: dict[str, str | None] = {**inherited, **own, **self.variables, **(changes or {})}
        return {name: value for name, value in merged.items() if value is not None}

    def start(self, *arguments: str, env: Mapping[str, str | None] | None = None, **options: Any) -> Running:
        """Start the command and return at once."""
        RAN.commands.append((self, arguments))
        child = subprocess.Popen(
            [*self.program, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=options.pop("stdout", subprocess.PIPE),
            stderr=subprocess.PIPE,
            env=self.environment(env),
            cwd=options.pop("cwd", self.home),
            text=True,
            **options,
        )
        return Running(child, debugged="--debug" in arguments)

    def __call__(self, *arguments: str, env: Mapping[str, str | None] | None = None, **options: Any) -> Outcome:
        """Run the command to its end."""
        return self.start(*arguments, env=env, **options).finish()

    def succeed(self, *arguments: str, env: Mapping[str, str | None] | None = None, **options: Any) -> Any:
        """Run the command with ``--json``, which must end well, and return its document."""
        outcome = self(*arguments, "--json", env=env, **options)
        assert outcome.returncode == 0, outcome.said
        return outcome.json

    def server_pid(self) -> int | None:
        """The pid that ``status`` tells."""
        pid = self.succeed("status")["pid"]
        assert pid is None or isinstance(pid, int)
        return pid

    def processes(self) -> list[psutil.Process]:
        """Every process that has the prefix in its arguments or environment, this one excepted."""
        return processes_of(self.prefix)

    def cleanup(self) -> None:
        """Destroy, and make sure that no process stays."""
        outcome = self("destroy", "--yes") if self.prefix.exists() else Outcome(0, "", "")
        left = gone_or_left(self.processes)
        for process in left:
            process.kill()
        assert not left, f"left behind: {left}"
        assert outcome.returncode == 0, outcome.said
        assert not self.prefix.exists()


@dataclass
class Running:
    """A command that was started."""

    child: subprocess.Popen[str]
    debugged: bool = False
    began: float = field(default_factory=time.monotonic)

    def finish(self, timeout_s: float = TIMEOUT_S) -> Outcome:
        """Wait for the end."""
        try:
            stdout, stderr = self.child.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            self.child.kill()
            stdout, stderr = self.child.communicate()
            raise AssertionError(f"no end within {timeout_s} s: {stdout}\n{stderr}") from None
        outcome = Outcome(self.child.returncode, stdout, stderr, time.monotonic() - self.began, self.debugged)
        RAN.outcomes.append(outcome)
        return outcome


RAN = Ran()


def processes_of(prefix: Path) -> list[psutil.Process]:
    """Return the processes that carry the path in their arguments or environment; zombies do not count."""
    wanted = str(prefix)
    found = []
    for process in psutil.process_iter():
        try:
            told = [*process.cmdline(), *process.environ().values()]
            if process.pid != os.getpid() and any(wanted in text for text in told):
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found


def free_port() -> int:
    """Return a port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def gone_or_left(look: Callable[[], list[psutil.Process]], timeout_s: float = 3.0) -> list[psutil.Process]:
    """Return what is still there after a moment: a process that was just killed takes one to vanish."""
    return eventually(lambda: look() or None, until=lambda found: found is None, timeout_s=timeout_s) or []


def eventually(look: Callable[[], Any], until: Callable[[Any], bool] = bool, timeout_s: float = 20.0) -> Any:
    """Look until it is as wanted or the time is over; return what was seen last."""
    deadline = time.monotonic() + timeout_s
    while not until(seen := look()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return seen
