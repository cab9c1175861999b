"""Pids that belong to somebody else by now: after a restart of the machine, and while it runs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from provision.host import process
from tests.faults.oracle import WISH, Oracle
from tests.standin.command import Fabric

ROOT = Path(__file__).parents[2]


@pytest.mark.fault("pid-reused")
@pytest.mark.parametrize("change", [{"boot_id": "another boot"}, {"started": 1}], ids=["boot", "start time"])
def test_what_the_record_names_is_somebody_else_now_and_never_touched(
    quick: Fabric, oracle: Oracle, change: dict[str, Any]
) -> None:
    quick.succeed("up", *WISH)
    quick.succeed("down")
    with psutil.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as stranger:
        now = process.identify(stranger.pid)
        assert now is not None
        forged = {"pid": now.pid, "started": now.started, "boot_id": now.boot_id, **change}
        record = quick.prefix / "run" / "server.json"
        told = json.loads(record.read_text(encoding="utf-8"))
        told |= {"state": "ready", "supervisor": forged, "server": forged}
        record.write_text(json.dumps(told), encoding="utf-8")
        status = oracle.met(quick("status", "--json"), 0).json
        assert (status["state"] in ("stopped", "failed"), status["pid"]) == (True, None)
        oracle.met(quick("down", "--json"), 0)
        record.write_text(json.dumps(told), encoding="utf-8")
        oracle.converges(quick)
        oracle.nothing_left(quick)
        assert process.identify(stranger.pid) == now
        stranger.kill()


REUSES = """
import os, signal, subprocess, sys, time
from pathlib import Path
from provision.host import process

first = subprocess.Popen(["sleep", "60"])
before = process.identify(first.pid)
first.kill()
first.wait()
time.sleep(0.05)
Path("/proc/sys/kernel/ns_last_pid").write_text(str(first.pid - 1))
stranger = subprocess.Popen(["sleep", "60"])
assert stranger.pid == first.pid, "the same number"
assert not process.is_running(before)
assert process.send(before, signal.SIGKILL) is False
assert process.wait_gone(before, 1.0)
time.sleep(0.1)
assert stranger.poll() is None
stranger.kill()
stranger.wait()
print("the stranger was left alone")
"""


@pytest.mark.fault("pid-reused-at-once")
def test_a_process_that_gets_the_number_of_one_that_has_ended_is_left_alone() -> None:
    command = ["unshare", "-pf", "--mount-proc", sys.executable, "-c", REUSES]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stdout) == (0, "the stranger was left alone\n"), done.stderr
