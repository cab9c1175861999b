from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from provision.host import process
from provision.host.process_search import with_environment


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["/bin/sleep", "60"]) as child:
        yield child
        child.kill()


def test_this_process_runs_and_is_itself() -> None:
    me = process.myself()
    assert me.pid == os.getpid()
    assert process.is_running(me)
    assert process.identify(me.pid) == me


def test_nobody_is_not_running() -> None:
    assert not process.is_running(None)
    assert process.identify(2**22 + 1) is None


@pytest.mark.fault("zombie")
def test_a_zombie_does_not_run() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as child:
        deadline = time.monotonic() + 5
        while process.identify(child.pid) is not None and time.monotonic() < deadline:
            time.sleep(0.01)
        assert process.identify(child.pid) is None
        assert Path(f"/proc/{child.pid}").exists() or sys.platform != "linux"


@pytest.mark.fault("pid-reused")
@pytest.mark.parametrize("change", [{"started": 1}, {"boot_id": "another boot"}])
def test_another_process_with_the_same_pid_is_neither_seen_nor_signalled(
    sleeper: subprocess.Popen[bytes], change: dict[str, object]
) -> None:
    now = process.identify(sleeper.pid)
    assert now is not None
    before = replace(now, **change)  # type: ignore[arg-type]
    assert not process.is_running(before)
    assert process.send(before, signal.SIGKILL) is False
    assert process.wait_gone(before, 1.0)
    assert sleeper.poll() is None


def test_a_signal_reaches_exactly_its_process(sleeper: subprocess.Popen[bytes]) -> None:
    now = process.identify(sleeper.pid)
    assert now is not None
    assert process.wait_gone(now, 0.05) is False
    assert process.send(now, signal.SIGTERM)
    assert sleeper.wait(5) == -signal.SIGTERM
    assert process.wait_gone(now, 1.0)
    assert process.send(now, signal.SIGTERM) is False


@pytest.mark.fault("zombie")
def test_a_process_that_is_being_waited_for_is_gone_when_it_is_a_zombie() -> None:
    with subprocess.Popen(["/bin/sleep", "0.3"]) as child:
        now = process.identify(child.pid)
        started = time.monotonic()
        assert now is not None
        assert process.wait_gone(now, 5.0)
        assert time.monotonic() - started < 3


def test_a_name_with_spaces_and_parentheses_is_read(tmp_path: Path) -> None:
    program = tmp_path / "a) R 1 (b"
    program.symlink_to("/bin/sleep")
    with subprocess.Popen([str(program), "30"]) as child:
        try:
            assert process.identify(child.pid) is not None
            assert process.cpu_ticks(child.pid) is not None
        finally:
            child.kill()


def test_processes_are_found_by_their_environment(sleeper: subprocess.Popen[bytes]) -> None:
    env = {**os.environ, "FABRIC_TEST_MARK": "4711"}
    with subprocess.Popen(["/bin/sleep", "30"], env=env) as marked:
        try:
            deadline = time.monotonic() + 5  # a new process has its environment only once it runs its program
            while not (found := with_environment("FABRIC_TEST_MARK", "4711")) and time.monotonic() < deadline:
                time.sleep(0.01)
            assert [p.pid for p in found] == [marked.pid]
            assert with_environment("FABRIC_TEST_MARK", "471") == []
        finally:
            marked.kill()


def test_a_detached_program_has_a_session_and_no_file_of_ours(tmp_path: Path) -> None:
    log = tmp_path / "log"
    kept = os.open(tmp_path, os.O_RDONLY)
    os.set_inheritable(kept, True)
    script = "import os; print(os.getsid(0) == os.getpid(), sorted(map(int, os.listdir('/proc/self/fd')))[:-1])"
    try:
        pid = process.start_detached([sys.executable, "-c", script], dict(os.environ), log, tmp_path)
        os.waitpid(pid, 0)
    finally:
        os.close(kept)
    assert log.read_text(encoding="utf-8").strip() == "True [0, 1, 2]"
