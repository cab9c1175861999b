"""Ctrl-C, SIGTERM and many commands at once."""

from __future__ import annotations

import signal
import time

import psutil
import pytest

from tests.standin.command import Fabric, eventually
from tests.standin.index_server import Fault, IndexServer


def engine_wheel(index: IndexServer) -> str:
    return next(name for name in index.files if name.startswith("xllamacpp"))


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 143)])
@pytest.mark.parametrize("moment", ["uv", "download"])
def test_an_interrupted_download_ends_at_once_and_leaves_nothing(
    quick: Fabric, standin_index: IndexServer, number: signal.Signals, status: int, moment: str
) -> None:
    name = engine_wheel(standin_index)
    where = "/simple" if moment == "uv" else name
    standin_index.faults[where] = Fault(stall_after=10)
    running = quick.start("up", "--json")
    assert eventually(lambda: standin_index.seen if moment == "uv" else standin_index.requests_for(name))
    started = time.monotonic()
    running.child.send_signal(number)
    stopped = running.finish(timeout_s=10)
    took_s = time.monotonic() - started
    assert stopped.returncode == status, stopped.said
    assert stopped.json["error"]["code"] == "interrupted"
    assert "Traceback" not in stopped.stderr
    assert quick.processes() == []
    assert took_s < 5, f"it took {took_s:.1f} s to stop"

    standin_index.faults.clear()
    standin_index.released.set()
    again = quick.succeed("up", "--no-smoke")
    assert again["changed"] is True
    assert not (quick.prefix / "staging").exists()


@pytest.mark.fault("up-at-once")
@pytest.mark.parametrize("count", [2, 10])
def test_many_at_once_make_one_server(quick: Fabric, count: int) -> None:
    running = [quick.start("up", "--no-smoke", "--json") for _ in range(count)]
    done = [one.finish() for one in running]
    assert {outcome.returncode for outcome in done} <= {0, 75}, [outcome.said for outcome in done]
    ended_well = [outcome.json for outcome in done if outcome.returncode == 0]
    assert len({document["pid"] for document in ended_well}) == 1
    assert sum(document["changed"] for document in ended_well) == 1, "one did the work, the others found it done"
    assert len(quick.processes()) == 2, "one supervisor, one server"


def test_who_waits_says_for_whom(quick: Fabric, standin_index: IndexServer) -> None:
    name = engine_wheel(standin_index)
    standin_index.faults[name] = Fault(stall_after=10)
    first = quick.start("up", "--no-smoke")
    assert eventually(lambda: standin_index.requests_for(name))
    second = quick.start("up", "--no-smoke", "--json")
    time.sleep(1)
    standin_index.faults.clear()
    standin_index.released.set()
    assert first.finish().returncode == 0
    waited = second.finish()
    assert waited.returncode == 0, waited.said
    assert f"process {first.child.pid}" in waited.stderr


@pytest.mark.fault("destroy-during-up")
def test_a_destroy_during_an_up_waits_and_then_leaves_nothing(quick: Fabric, standin_index: IndexServer) -> None:
    name = engine_wheel(standin_index)
    standin_index.faults[name] = Fault(stall_after=10, times=1)
    up = quick.start("up", "--no-smoke")
    assert eventually(lambda: standin_index.requests_for(name))
    destroy = quick.start("destroy", "--yes")
    time.sleep(0.6)
    standin_index.released.set()
    outcomes = up.finish(), destroy.finish()
    assert outcomes[1].returncode == 0, outcomes[1].said
    assert "Traceback" not in outcomes[0].stderr
    assert not quick.prefix.exists()
    assert eventually(lambda: quick.processes() == [], timeout_s=3)


@pytest.mark.fault("destroy-during-up")
def test_up_and_destroy_by_turns_never_damage_anything(quick: Fabric) -> None:
    running = [quick.start(*words) for _ in range(3) for words in (("up", "--no-smoke"), ("destroy", "--yes"))]
    done = [one.finish() for one in running]
    for outcome in done:
        assert outcome.returncode == 0, outcome.said
    assert len(quick.processes()) in (0, 2)
    quick.succeed("up", "--no-smoke")
    assert len(quick.processes()) == 2


def test_the_server_has_no_file_of_the_command_open(quick: Fabric) -> None:
    up = quick.succeed("up", "--no-smoke")
    for process in quick.processes():
        opened = [file.path for file in process.open_files()]
        assert not [path for path in opened if path.endswith("/lock")], "a lock that a server holds is never free"
    assert psutil.Process(up["pid"]).terminal() is None
