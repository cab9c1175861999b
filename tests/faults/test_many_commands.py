"""Several commands in one prefix, and commands whose holder of the lock is stopped or dead."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path

import pytest

from tests.e2e.test_interrupted import engine_wheel
from tests.faults.oracle import WISH, Oracle, assert_unlocked
from tests.faults.striking import moments_of, struck
from tests.standin.command import Fabric, eventually
from tests.standin.index_server import Fault, IndexServer
from tests.standin.moments import JOURNAL, KILL


@pytest.mark.faults
@pytest.mark.fault("up-at-once")
@pytest.mark.parametrize("count", [5, 20])
def test_twenty_at_once_make_one_server(quick: Fabric, oracle: Oracle, count: int) -> None:
    running = [quick.start("up", *WISH, "--json") for _ in range(count)]
    done = [oracle.met(one.finish()) for one in running]
    ended_well = [outcome.json for outcome in done if outcome.returncode == 0]
    assert len({document["pid"] for document in ended_well}) == 1
    assert sum(document["changed"] for document in ended_well) == 1, "one did the work, the others found it done"
    assert oracle.converges(quick)["pid"] == ended_well[0]["pid"]
    oracle.nothing_left(quick)


@pytest.mark.faults
@pytest.mark.fault("up-at-once")
def test_different_wishes_at_once_are_fulfilled_one_after_the_other(quick: Fabric, oracle: Oracle) -> None:
    running = [quick.start("up", *WISH, "--context", str(512 + number), "--json") for number in range(8)]
    done = [oracle.met(one.finish()) for one in running]
    assert all(outcome.json["changed"] for outcome in done if outcome.returncode == 0)
    oracle.converges(quick)
    oracle.nothing_left(quick)


@pytest.mark.fault("holder-stopped")
def test_who_is_stopped_with_the_lock_is_named(quick: Fabric, oracle: Oracle, standin_index: IndexServer) -> None:
    name = engine_wheel(standin_index)
    standin_index.faults[name] = Fault(stall_after=10, times=1)
    first = quick.start("up", *WISH)
    assert eventually(lambda: standin_index.requests_for(name))
    first.child.send_signal(signal.SIGSTOP)
    second = quick("up", *WISH, env={"STANDIN_LOCK_WAIT_S": "1"})
    oracle.met(second, 75, [f"process {first.child.pid}", "fabric up"], within_s=10)
    assert quick("status").returncode == 0, "looking needs no lock"
    first.child.send_signal(signal.SIGCONT)
    standin_index.released.set()
    assert first.finish().returncode == 0
    oracle.converges(quick)
    oracle.nothing_left(quick)


@pytest.mark.fault("holder-killed")
def test_the_server_of_a_killed_up_does_not_hold_the_lock(quick: Fabric, oracle: Oracle) -> None:
    last = [moment for moment in moments_of(quick, "up", *WISH) if moment.point == JOURNAL][-1]
    quick.succeed("destroy", "--yes")
    assert struck(quick, last, KILL, "up", *WISH).returncode == -signal.SIGKILL
    running = {process.pid for process in quick.processes()}
    assert running, "the supervisor outlives the command"
    assert_unlocked(quick.prefix)
    oracle.converges(quick)
    oracle.nothing_left(quick)


@pytest.mark.faults
@pytest.mark.fault("supervisor-killed")
@pytest.mark.parametrize("delay_s", [0, 0.1])
def test_a_supervisor_that_is_killed_right_after_it_began_is_replaced(
    quick: Fabric, oracle: Oracle, delay_s: float
) -> None:
    up = quick.start("up", *WISH)
    found = eventually(
        lambda: [process for process in quick.processes() if "provision.serve.supervisor" in process.cmdline()]
    )
    time.sleep(delay_s)
    for process in found:
        process.kill()
    oracle.survived(quick, up.finish())
    oracle.nothing_left(quick)


@pytest.mark.faults
@pytest.mark.fault("gc-during-up")
def test_gc_during_an_up_waits_and_takes_nothing_that_lives(
    quick: Fabric, oracle: Oracle, standin_index: IndexServer
) -> None:
    name = engine_wheel(standin_index)
    standin_index.faults[name] = Fault(stall_after=10, times=1)
    up = quick.start("up", *WISH)
    assert eventually(lambda: standin_index.requests_for(name))
    gc = quick.start("gc")
    time.sleep(0.6)
    assert gc.child.poll() is None, "it waits for the lock"
    standin_index.released.set()
    oracle.met(up.finish(), 0)
    oracle.met(gc.finish(), 0)
    before = quick.succeed("status")
    assert oracle.converges(quick)["pid"] == before["pid"], "nothing of the running server was taken"
    oracle.nothing_left(quick)


@pytest.mark.fault("plan-stale")
def test_a_plan_is_carried_out_once(quick: Fabric, oracle: Oracle) -> None:
    plan = quick.home / "plan.json"
    quick.succeed("plan", *WISH[1:], "--out", str(plan))
    quick.succeed("apply", str(plan), "--no-smoke")
    oracle.met(quick("apply", str(plan), "--no-smoke"), 65, ["fabric plan --out"])
    oracle.converges(quick)
    plan.unlink()
    oracle.nothing_left(quick)


@pytest.mark.faults
@pytest.mark.fault("plan-stale")
@pytest.mark.parametrize("between", ["up", "destroy", "down"])
def test_a_plan_of_a_state_that_is_gone_is_refused(quick: Fabric, oracle: Oracle, between: str) -> None:
    plan = quick.home / "plan.json"
    quick.succeed("up", *WISH)
    quick.succeed("plan", *WISH[1:], "--context", "600", "--out", str(plan))
    words = {"up": ("up", *WISH, "--context", "700"), "destroy": ("destroy", "--yes"), "down": ("down",)}
    quick.succeed(*words[between])
    oracle.met(quick("apply", str(plan), "--no-smoke"), 65, ["fabric plan --out"])
    plan.unlink()
    oracle.converges(quick)
    oracle.nothing_left(quick)


@pytest.mark.fault("plan-stale")
@pytest.mark.parametrize("path", ["plan.selection.release.wheel.sha256", "plan.changes", "plan.serial"])
def test_a_plan_that_was_edited_is_refused(quick: Fabric, oracle: Oracle, path: str) -> None:
    plan = quick.home / "plan.json"
    quick.succeed("plan", *WISH[1:], "--out", str(plan))
    document = json.loads(plan.read_text(encoding="utf-8"))
    *way, last = path.split(".")
    place = document
    for name in way:
        place = place[name]
    place[last] = {"sha256": "0" * 64, "changes": [], "serial": 7}[last]
    plan.write_text(json.dumps(document), encoding="utf-8")
    oracle.met(quick("apply", str(plan), "--no-smoke"), 65)
    assert not (quick.prefix / "engines").exists()
    Path(plan).unlink()
    quick.succeed("destroy", "--yes")
