"""``up`` is killed with SIGKILL at one moment after the other; the next ``up`` always heals everything."""

from __future__ import annotations

import json
import signal

import pytest

from provision.apply.generations import KNOWN_GENERATIONS
from tests.standin.command import Fabric

pytestmark = pytest.mark.faults  # the quick ones are in test_killed_once.py

# Which moments are tried, until a run survives. Between two fsyncs of the installed tree nothing differs, so those
# are sampled.
ALL = range(1, 60)
EVERY_SECOND = range(1, 60, 2)
EVERY_THIRD = range(1, 60, 3)
EVERY_SIXTH = range(1, 60, 6)
SOME_FSYNCS = range(2, 200, 40)
AT_JOURNAL, AT_WRITE = pytest.mark.fault("killed-at-journal"), pytest.mark.fault("killed-at-write")


def heals(quick: Fabric, *arguments: str) -> int | None:
    """Run ``up`` and check that everything is as if nothing had happened; return the server's pid."""
    up = quick.succeed("up", "--no-smoke", *arguments)
    plan = quick.succeed("plan", *arguments)
    assert {change["action"] for change in plan["changes"]} == {"none"}, plan["changes"]
    servers = [p for p in quick.processes() if any("llamacpp_launcher" in word for word in p.cmdline())]
    assert [server.pid for server in servers] == [up["pid"]], quick("status").said + quick("logs").said
    assert len(quick.processes()) == 2, "the supervisor and the server"
    assert not (quick.prefix / "staging").exists()
    assert not (quick.prefix / "journal.jsonl").exists()
    assert not list(quick.prefix.glob("**/.*.tmp-*"))
    return int(up["pid"])


@pytest.mark.timeout(240)
@pytest.mark.parametrize(
    ("point", "moments"),
    [
        pytest.param("journal", ALL, marks=AT_JOURNAL),
        pytest.param("torn", EVERY_SIXTH, marks=AT_JOURNAL),
        pytest.param("replace", EVERY_THIRD, marks=AT_WRITE),
        pytest.param("rename", ALL, marks=AT_WRITE),
        pytest.param("fsync", SOME_FSYNCS, marks=AT_WRITE),
    ],
)
def test_a_first_up_killed_anywhere_is_finished_by_the_next(quick: Fabric, point: str, moments: range) -> None:
    killed = 0
    for number in moments:
        first = quick("up", "--no-smoke", env={"STANDIN_KILL": f"{point}:{number}"})
        if first.returncode == 0:
            break
        assert first.returncode == -signal.SIGKILL, first.said
        killed += 1
        heals(quick)
        quick.succeed("destroy", "--yes")
    else:
        pytest.fail("no run survived: there are more moments than were tried")
    assert killed >= 2


@pytest.mark.timeout(240)
@pytest.mark.parametrize(
    ("point", "moments"),
    [
        pytest.param("journal", ALL, marks=AT_JOURNAL),
        pytest.param("replace", EVERY_SECOND, marks=AT_WRITE),
        pytest.param("rename", ALL, marks=AT_WRITE),
        pytest.param("unlink", EVERY_SIXTH, marks=AT_WRITE),
    ],
)
def test_a_change_killed_anywhere_is_finished_by_the_next(quick: Fabric, point: str, moments: range) -> None:
    quick.succeed("up", "--no-smoke", "--context", "512")
    killed = 0
    for number in moments:
        wanted = ("--context", str(512 + number))
        first = quick("up", "--no-smoke", *wanted, env={"STANDIN_KILL": f"{point}:{number}"})
        if first.returncode == 0:
            break
        assert first.returncode == -signal.SIGKILL, first.said
        killed += 1
        up = quick.succeed("up", "--no-smoke", *wanted)
        plan = quick.succeed("plan", *wanted)
        assert {change["action"] for change in plan["changes"]} == {"none"}, (number, plan["changes"])
        assert len(quick.processes()) == 2, f"{point} {number}"
        assert quick.server_pid() == up["pid"]
        generations = [p.name for p in (quick.prefix / "gen").iterdir()]
        current = json.loads((quick.prefix / "state.json").read_text(encoding="utf-8"))["generation"]
        assert str(current) in generations
        assert len(generations) <= 2 * KNOWN_GENERATIONS + 1, "the removal of one that was cut short may wait"
    else:
        pytest.fail("no run survived: there are more moments than were tried")
    assert killed >= 1


@pytest.mark.fault("killed-at-write")
@pytest.mark.timeout(120)
def test_a_destroy_killed_anywhere_is_finished_by_the_next(quick: Fabric) -> None:
    killed = 0
    for number in range(1, 400, 60):
        quick.succeed("up", "--no-smoke")
        first = quick("destroy", "--yes", env={"STANDIN_KILL": f"unlink:{number}"})
        if first.returncode == 0:
            break
        assert first.returncode == -signal.SIGKILL, first.said
        killed += 1
        if killed % 2:
            second = quick("destroy", "--yes")
            assert second.returncode == 0, second.said
            assert not quick.prefix.exists()
    else:
        pytest.fail("no run survived: there are more moments than were tried")
    assert killed >= 1
