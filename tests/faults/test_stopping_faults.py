"""Servers that do not end when they should, supervisors that are killed, and processes that only look alive."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import psutil
import pytest

from provision.host import process
from tests.e2e.test_server_trouble import supervisor_of
from tests.faults.oracle import WISH, Oracle
from tests.faults.scripted import ScriptedModel, scripted_model
from tests.standin.command import Fabric, eventually

pytestmark = pytest.mark.faults
GRACE_S = 10.0  # that a server of llama.cpp has

DEAF = """
signal.signal(signal.SIGTERM, signal.SIG_IGN)
signal.signal = lambda *_: None
"""
SLOW = """
def slowly(*_):
    print("stopping slowly", file=sys.stderr, flush=True)
    time.sleep(2)
    print("stopped in order", file=sys.stderr, flush=True)
    os._exit(0)
signal.signal(signal.SIGTERM, slowly)
signal.signal = lambda *_: None
"""
CHILD = """
child = subprocess.Popen({argv}, {options})
with open(os.path.join(PLACE, "child"), "w") as file:
    file.write(str(child.pid))
"""
SLEEP = '["sleep", "300"]'
DEAF_CHILD = '["sh", "-c", "trap \'\' TERM; while :; do sleep 1; done"]'
CHILDREN = {
    "in its group": CHILD.format(argv=SLEEP, options=""),
    "in a session of its own": CHILD.format(argv=SLEEP, options="start_new_session=True"),
    "that hears nothing": CHILD.format(argv=DEAF_CHILD, options="start_new_session=True"),
    "without our environment": CHILD.format(argv=SLEEP, options="start_new_session=True, env={}"),
}


def child_of(model: ScriptedModel) -> int:
    return int((model.place / "child").read_text(encoding="ascii"))


def is_gone(pid: int) -> bool:
    return bool(eventually(lambda: process.identify(pid) is None, timeout_s=3))


@pytest.mark.fault("server-will-not-stop")
@pytest.mark.parametrize(
    ("script", "within_s"),
    [(DEAF, (GRACE_S, GRACE_S + 5)), (SLOW, (2, GRACE_S))],
    ids=["deaf", "slow"],
)
def test_a_server_that_takes_its_time_has_it_and_no_more(
    quick: Fabric, oracle: Oracle, tmp_path: Path, script: str, within_s: tuple[float, float]
) -> None:
    model = scripted_model(tmp_path, script)
    quick.succeed("up", *model.wish)
    stopped = oracle.met(quick("down", "--json"), 0, within_s=within_s[1])
    assert stopped.json["stopped"] is True
    assert stopped.took_s > within_s[0]
    assert quick.processes() == []
    assert script == DEAF or "stopped in order" in quick("logs").stdout
    model.behave()
    oracle.converges(quick, model.wish)
    oracle.nothing_left(quick)


@pytest.mark.fault("server-will-not-stop")
@pytest.mark.parametrize("script", CHILDREN.values(), ids=CHILDREN)
def test_what_a_server_has_started_ends_with_it_and_does_not_hold_up_its_end(
    quick: Fabric, oracle: Oracle, tmp_path: Path, script: str
) -> None:
    """Each of them has the server's output open, and none of them ends by itself."""
    model = scripted_model(tmp_path, script)
    quick.succeed("up", *model.wish)
    assert process.identify(child_of(model)) is not None
    oracle.met(quick("down", "--json"), 0, within_s=GRACE_S)
    assert is_gone(child_of(model))
    assert quick.processes() == []
    model.behave()
    oracle.converges(quick, model.wish)
    oracle.nothing_left(quick)


@pytest.mark.fault("server-will-not-stop")
def test_a_server_that_goes_to_the_background_is_no_server(quick: Fabric, oracle: Oracle, tmp_path: Path) -> None:
    model = scripted_model(tmp_path, f"{CHILDREN['in a session of its own']}\nos._exit(0)")
    failed = quick("up", *model.wish, "--timeout", "1.5", "--json")
    assert failed.returncode == 1, failed.said
    assert "it ended with status 0" in failed.json["error"]["message"]
    oracle.met(quick("down", "--json"), 0, within_s=GRACE_S)
    assert quick.processes() == []
    assert is_gone(child_of(model))
    model.behave()
    oracle.converges(quick, model.wish)
    oracle.nothing_left(quick)


@pytest.mark.fault("supervisor-killed")
def test_a_deaf_server_whose_supervisor_was_killed_is_told_and_replaced(
    quick: Fabric, oracle: Oracle, tmp_path: Path
) -> None:
    model = scripted_model(tmp_path, DEAF)
    up = quick.succeed("up", *model.wish)
    supervisor_of(quick).kill()
    assert eventually(lambda: len(quick.processes()) == 1)
    status = quick.succeed("status")
    assert (status["state"], status["pid"]) == ("failed", up["pid"])
    assert "supervisor" in status["detail"]
    model.behave()
    again = oracle.met(quick("up", *model.wish, "--json"), 0)
    assert again.json["changed"] is True
    assert is_gone(up["pid"])
    oracle.converges(quick, model.wish)
    oracle.nothing_left(quick)


@pytest.mark.fault("supervisor-unheard")
@pytest.mark.parametrize("verb", ["up", "down", "destroy"])
@pytest.mark.parametrize("left", [None, "{"])
def test_a_supervisor_whose_word_is_lost_is_ended_all_the_same(
    quick: Fabric, oracle: Oracle, verb: str, left: str | None
) -> None:
    up = quick.succeed("up", *WISH)
    supervisor, told = supervisor_of(quick), quick.prefix / "run" / "server.json"
    told.unlink()
    if left is not None:
        told.write_text(left, encoding="ascii")
    outcome = quick(*{"up": ("up", *WISH), "down": ("down",), "destroy": ("destroy", "--yes")}[verb])
    oracle.met(outcome, 0)
    assert is_gone(supervisor.pid)
    assert is_gone(up["pid"])
    oracle.converges(quick, WISH)
    oracle.nothing_left(quick)


LOADS = """
with open(os.path.join(PLACE, "loading"), "w"):
    time.sleep(1.5)
"""


@pytest.mark.fault("supervisor-killed")
def test_a_server_goes_on_loading_when_the_command_that_started_it_is_killed(
    quick: Fabric, oracle: Oracle, tmp_path: Path
) -> None:
    model = scripted_model(tmp_path, LOADS)
    first = quick.start("up", *model.wish)
    assert eventually((model.place / "loading").exists)
    first.child.kill()
    assert first.finish().returncode == -signal.SIGKILL
    before = quick.succeed("status")
    assert before["state"] in ("starting", "loading")
    up = oracle.converges(quick, model.wish)
    assert up["pid"] == before["pid"], "the same server, adopted"
    oracle.nothing_left(quick)


@pytest.mark.fault("zombie")
def test_a_stopped_server_is_told_as_one_that_does_not_answer_and_goes_on_when_it_can(
    quick: Fabric, oracle: Oracle, tmp_path: Path
) -> None:
    model = scripted_model(tmp_path, "pass")
    up = quick.succeed("up", *model.wish)
    os.kill(up["pid"], signal.SIGSTOP)
    status = oracle.met(quick("status", "--json"), 0, within_s=10).json
    assert (status["state"], status["pid"]) == ("degraded", up["pid"])
    assert "timed out" in status["detail"]
    waiting = quick.start("up", *model.wish, "--json")
    assert eventually(lambda: waiting.child.poll() is not None, timeout_s=1) is False, "it is waited for"
    os.kill(up["pid"], signal.SIGCONT)
    again = oracle.met(waiting.finish(), 0).json
    assert (again["changed"], again["pid"]) == (False, up["pid"])
    oracle.converges(quick, model.wish)
    oracle.nothing_left(quick)


@pytest.mark.fault("zombie")
def test_a_supervisor_that_nobody_collects_is_dead(quick: Fabric, oracle: Oracle, tmp_path: Path) -> None:
    """It becomes a zombie of this test, which is told to be its next parent."""
    import ctypes

    subreaper = 36
    ctypes.CDLL(None).prctl(subreaper, 1)
    try:
        model = scripted_model(tmp_path, "pass")
        quick.succeed("up", *model.wish)
        supervisor = supervisor_of(quick)
        supervisor.kill()
        assert eventually(lambda: supervisor.status() == psutil.STATUS_ZOMBIE, timeout_s=5)
        assert quick.succeed("status")["state"] == "failed"
        oracle.converges(quick, model.wish)
        oracle.nothing_left(quick)
    finally:
        ctypes.CDLL(None).prctl(subreaper, 0)
        supervisor.wait(5)
