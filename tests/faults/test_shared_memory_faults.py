"""Shared memory of servers that were killed before they could remove it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.test_server_trouble import supervisor_of
from tests.faults.oracle import Oracle
from tests.faults.scripted import ScriptedModel, scripted_model
from tests.standin.command import Fabric, eventually

pytestmark = pytest.mark.faults
PLACE = Path("/dev/shm")  # noqa: S108 - what is about

# As Python's shared memory, a cache that was moved out of a GPU, and a semaphore: mapped, and open.
LEAVES = """
import mmap
kept = sys.kept = []
names = [f"{kind}_{os.getpid()}_of_a_test" for kind in ("psm", "vllm_offload", "sem.mp")]
for name in names:
    file = open(os.path.join("/dev/shm", name), "w+b")
    file.truncate(1 << 16)
    kept += [file] if name.startswith("sem") else [mmap.mmap(file.fileno(), 0)]
with open(os.path.join(PLACE, str(os.getpid())), "w") as file:
    file.write(" ".join(names))
"""


def left_by(model: ScriptedModel, pid: int) -> list[Path]:
    return [PLACE / name for name in (model.place / str(pid)).read_text(encoding="ascii").split()]


def is_remembered(fabric: Fabric, names: list[Path]) -> bool:
    told = (fabric.prefix / "run" / "server.json").read_text(encoding="utf-8")
    return all(f'"{path.name}"' in told for path in names)


@pytest.fixture
def somebody_elses() -> Iterator[Path]:
    """Memory of another program that nobody has mapped now, made after the server and named as its own are."""
    yield (path := PLACE / f"psm_{uuid.uuid4().hex[:8]}")
    path.unlink(missing_ok=True)


@pytest.mark.fault("shared-memory-left")
def test_what_a_killed_server_left_is_gone_before_the_next_one_starts(
    quick: Fabric, oracle: Oracle, tmp_path: Path, somebody_elses: Path
) -> None:
    model = scripted_model(tmp_path, LEAVES)
    up = quick.succeed("up", *model.wish)
    first = left_by(model, up["pid"])
    somebody_elses.write_bytes(b"theirs")
    assert eventually(lambda: is_remembered(quick, first), timeout_s=10)
    os.kill(up["pid"], signal.SIGKILL)
    again = oracle.converges(quick, model.wish)
    assert [path for path in first if path.exists()] == []
    second = left_by(model, again["pid"])
    assert all(path.exists() for path in second), "what is in use stays"
    oracle.met(quick("down", "--json"), 0)
    assert [path for path in second if path.exists()] == []
    assert somebody_elses.read_bytes() == b"theirs"
    somebody_elses.unlink()
    model.behave()
    oracle.nothing_left(quick)


def by_command(fabric: Fabric, wish: tuple[str, ...]) -> None:
    fabric.succeed("up", *wish)


def by_service_manager(fabric: Fabric, _: tuple[str, ...]) -> None:
    """Start the supervisor again, and nothing else, as whoever keeps services does."""
    command = [sys.executable, "-m", "provision.serve.supervisor", str(fabric.prefix)]
    subprocess.Popen(command, env=fabric.environment(), start_new_session=True).returncode = 0  # not ours to collect
    assert eventually(lambda: fabric.succeed("status")["state"] == "ready", timeout_s=30)


@pytest.mark.fault("shared-memory-left", "supervisor-killed")
@pytest.mark.parametrize("started_again", [by_command, by_service_manager])
def test_what_is_left_when_the_supervisor_was_killed_too_is_gone_with_the_next_start(
    quick: Fabric,
    oracle: Oracle,
    tmp_path: Path,
    somebody_elses: Path,
    started_again: Callable[[Fabric, tuple[str, ...]], None],
) -> None:
    model = scripted_model(tmp_path, LEAVES)
    up = quick.succeed("up", *model.wish)
    left = left_by(model, up["pid"])
    somebody_elses.write_bytes(b"theirs")
    assert eventually(lambda: is_remembered(quick, left), timeout_s=10)
    supervisor = supervisor_of(quick)
    os.kill(up["pid"], signal.SIGSTOP)  # or it would be started again between the two signals
    supervisor.kill()
    os.kill(up["pid"], signal.SIGKILL)
    assert eventually(lambda: quick.processes() == [])
    assert all(path.exists() for path in left)
    model.behave()
    started_again(quick, model.wish)
    assert [path for path in left if path.exists()] == []
    oracle.converges(quick, model.wish)
    assert somebody_elses.read_bytes() == b"theirs"
    somebody_elses.unlink()
    oracle.nothing_left(quick)
