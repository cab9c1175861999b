"""The launcher, with a small server in vLLM's place that starts a child and shares memory with it as vLLM does."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import venv
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from provision.engines import vllm_launcher

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="vLLM serves on Linux alone")

KEY = "a-key-nobody-may-see"
WAIT_S = 30.0
SERVER = """
import json, multiprocessing, os, signal, sys, time
from multiprocessing import shared_memory
from pathlib import Path


def child(name, said):
    shared = shared_memory.SharedMemory(name)
    said.send(os.getpid())
    time.sleep(600)


def main():
    shared = shared_memory.SharedMemory(create=True, size=4096)
    ours, theirs = multiprocessing.Pipe()
    worker = multiprocessing.get_context("spawn").Process(target=child, args=(shared.name, theirs), daemon=True)
    worker.start()
    said = {"argv": sys.argv, "cwd": os.getcwd(), "server": os.getpid(), "worker": ours.recv(), "memory": shared.name}
    Path("said.part").write_text(json.dumps(said))
    Path("said.part").rename("said.json")
    end = sys.argv[1]
    if end == "exit":
        sys.exit(3)
    if end == "crash":
        os.kill(os.getpid(), signal.SIGKILL)
    if end == "tidy":
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    time.sleep(600)


from vllm.stand_in import main  # a child finds its function there

if __name__ == "__main__":
    main()
"""


@pytest.fixture(scope="module")
def interpreter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an interpreter whose vLLM is the stand-in."""
    root = tmp_path_factory.mktemp("engine")
    venv.create(root, with_pip=False, symlinks=True)
    packages = next((root / "lib").glob("python3.*")) / "site-packages" / "vllm"
    (packages / "entrypoints" / "openai").mkdir(parents=True)
    functions, _, start = SERVER.partition("from vllm.stand_in")
    (packages / "stand_in.py").write_text(functions)
    (packages / "entrypoints" / "openai" / "api_server.py").write_text("from vllm.stand_in" + start)
    return root / "bin" / "python"


class Served:
    """One launcher and what its server said of itself."""

    def __init__(self, interpreter: Path, directory: Path, end: str) -> None:
        self.work = directory / ("a-long-name-" * 12) / "work"
        self.work.mkdir(parents=True)
        (self.work / "of-an-earlier-run").touch()
        (directory / "key").write_text(KEY + "\n")
        parameters = {"arguments": [end], "api_key_file": str(directory / "key"), "work_directory": str(self.work)}
        (directory / "parameters.json").write_text(json.dumps(parameters))
        self.launcher = subprocess.Popen(
            [interpreter, "-I", "-B", vllm_launcher.__file__, directory / "parameters.json"],
            env={**os.environ, "FABRIC_INSTANCE": "mark", "FABRIC_SUPERVISOR": str(os.getpid())},
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        said = self.work / "said.json"
        wait_until(lambda: said.exists() or self.launcher.poll() is not None)
        self.said: dict[str, Any] = json.loads(said.read_text()) if said.exists() else {}

    def session(self) -> list[int]:
        """Return the processes of the launcher's session that still run."""
        found = []
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                state, _parent, _group, session = stat.read_text().rpartition(")")[2].split()[:4]
            except OSError:
                continue
            if int(session) == self.launcher.pid and state != "Z":
                found.append(int(stat.parent.name))
        return found

    def nothing_is_left(self) -> bool:
        return not self.session() and not Path("/dev/shm", self.said["memory"].lstrip("/")).exists()  # noqa: S108


def wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not holds():
        assert time.monotonic() < deadline, "it does not come true"
        time.sleep(0.02)


@pytest.fixture
def serve(interpreter: Path, tmp_path: Path) -> Iterator[Callable[[str], Served]]:
    started: list[Served] = []

    def start(end: str) -> Served:
        started.append(Served(interpreter, tmp_path, end))
        return started[-1]

    yield start
    for served in started:
        served.launcher.terminate()
        served.launcher.wait(WAIT_S)
        wait_until(served.nothing_is_left)


def read(pid: int, name: str) -> list[str]:
    return Path("/proc", str(pid), name).read_bytes().decode().split("\0")


def test_the_server_gets_its_arguments_and_the_key_that_no_one_else_sees(serve: Callable[[str], Served]) -> None:
    served = serve("stay")
    assert served.said["argv"] == ["vllm", "stay", "--api-key", KEY, "--middleware", "__main__.NothingWithoutKey"]
    for pid in served.session():
        assert not any(KEY in word for name in ("cmdline", "environ") for word in read(pid, name))


def test_it_works_in_a_directory_of_its_own_that_was_empty(serve: Callable[[str], Served]) -> None:
    served = serve("stay")
    assert Path(served.said["cwd"]) == served.work
    assert not (served.work / "of-an-earlier-run").exists()


def test_all_but_the_one_that_takes_the_memory_away_carry_the_mark(serve: Callable[[str], Served]) -> None:
    served = serve("stay")
    unmarked = [pid for pid in served.session() if "FABRIC_INSTANCE=mark" not in read(pid, "environ")]
    assert [any("resource_tracker" in word for word in read(pid, "cmdline")) for pid in unmarked] == [True]


@pytest.mark.parametrize("end", ["stay", "tidy"])
def test_told_to_end_it_leaves_nothing_and_no_failure(serve: Callable[[str], Served], end: str) -> None:
    served = serve(end)
    served.launcher.terminate()
    assert served.launcher.wait(WAIT_S) == 0
    assert served.nothing_is_left()
    assert not served.work.exists()


@pytest.mark.parametrize(("end", "status"), [("exit", 3), ("crash", -signal.SIGKILL)])
def test_it_ends_as_the_server_did_and_leaves_nothing(serve: Callable[[str], Served], end: str, status: int) -> None:
    served = serve(end)
    assert served.launcher.wait(WAIT_S) == status
    assert served.nothing_is_left()
    assert not served.work.exists()


@pytest.mark.parametrize("whom", ["launcher", "server", "all that are marked"])
def test_killed_without_warning_nothing_stays(serve: Callable[[str], Served], whom: str) -> None:
    served = serve("stay")
    launcher, server, worker = served.launcher.pid, served.said["server"], served.said["worker"]
    victims = {"launcher": [launcher], "server": [server], "all that are marked": [launcher, server, worker]}[whom]
    for pid in victims:
        os.kill(pid, signal.SIGKILL)
    assert served.launcher.wait(WAIT_S) == -signal.SIGKILL
    wait_until(served.nothing_is_left)
