"""``up``, a change, a way back and ``destroy``, each killed once; at every moment: ``tests/faults``."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.standin.command import Fabric, Outcome, eventually
from tests.standin.index_server import Fault, IndexServer
from tests.standin.openai_server import Script, serving
from tests.unit.engines.conftest import tiny_gguf


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


def killed(quick: Fabric, moment: str, *words: str) -> Outcome:
    outcome = quick(*words, env={"STANDIN_KILL": moment})
    assert outcome.returncode == -signal.SIGKILL, outcome.said
    return outcome


@pytest.mark.parametrize("moment", ["journal:5", "torn:7", "replace:4"])
def test_a_first_up_is_finished_by_the_next(quick: Fabric, moment: str) -> None:
    killed(quick, moment, "up", "--no-smoke")
    heals(quick)


@pytest.mark.faults
@pytest.mark.fault("killed-at-journal")
def test_a_journal_that_ends_in_half_a_line_is_read_up_to_there(quick: Fabric) -> None:
    """``torn`` kills in the middle of writing a step."""
    for number in range(1, 60, 6):
        first = quick("up", "--no-smoke", env={"STANDIN_KILL": f"torn:{number}"})
        if first.returncode == 0:
            break
        assert first.returncode == -signal.SIGKILL, first.said
        heals(quick)
        quick.succeed("destroy", "--yes")
    else:
        pytest.fail("no run survived: there are more moments than were tried")
    assert number > 1


@pytest.mark.parametrize("moment", ["journal:5", "rename:1"])
def test_a_change_is_finished_by_the_next(quick: Fabric, moment: str) -> None:
    quick.succeed("up", "--no-smoke", "--context", "512")
    killed(quick, moment, "up", "--no-smoke", "--context", "600")
    heals(quick, "--context", "600")


def test_a_way_back_is_finished_by_the_next(quick: Fabric, tmp_path: Path) -> None:
    model = tmp_path / "second.gguf"
    model.write_bytes(tiny_gguf(name=model.name))
    model.with_name(f"{model.name}.refuse").touch()
    before = quick.succeed("up", "--no-smoke")
    killed(quick, "replace:8", "up", "--no-smoke", "--model", f"file:{model}")
    heals(quick)
    assert quick.succeed("status")["model"] == before["model"]


def test_a_switch_to_a_server_of_others_is_finished_by_the_next(quick: Fabric) -> None:
    quick.succeed("up", "--no-smoke")
    with serving(Script(model="theirs")) as theirs:
        wish = ("--backend", "external", "--base-url", theirs.base_url)
        killed(quick, "journal:5", "up", "--no-smoke", *wish)
        assert quick.succeed("up", "--no-smoke", *wish)["model"] == "theirs"
        assert quick.processes() == []
        killed(quick, "journal:5", "up", "--no-smoke")
        heals(quick)


def test_a_destroy_is_finished_by_the_next(quick: Fabric) -> None:
    quick.succeed("up", "--no-smoke")
    killed(quick, "unlink:2", "destroy", "--yes")
    quick.succeed("destroy", "--yes")
    assert not quick.prefix.exists()


def test_what_was_interrupted_is_told_by_the_next_up(quick: Fabric) -> None:
    quick("up", "--no-smoke", env={"STANDIN_KILL": "journal:4"})
    second = quick("up", "--no-smoke")
    assert second.returncode == 0, second.said
    assert "was interrupted at" in second.stderr


@pytest.mark.fault("holder-killed")
def test_uv_does_not_outlive_an_up_that_was_killed_while_uv_asked_the_index(
    quick: Fabric, standin_index: IndexServer
) -> None:
    standin_index.faults["/simple"] = Fault(stall_after=0, times=2)
    running = quick.start("up", "--no-smoke")
    assert eventually(lambda: standin_index.seen)
    running.child.kill()
    running.finish()
    assert eventually(lambda: quick.processes() == [], timeout_s=5), quick.processes()


def test_nothing_outlives_an_up_that_was_killed_during_the_download(quick: Fabric, standin_index: IndexServer) -> None:
    name = next(name for name in standin_index.files if name.startswith("xllamacpp"))
    standin_index.faults[name] = Fault(stall_after=10)
    running = quick.start("up", "--no-smoke")
    assert eventually(lambda: standin_index.requests_for(name))
    running.child.kill()
    running.finish()
    assert eventually(lambda: quick.processes() == [], timeout_s=5), quick.processes()


@pytest.mark.parametrize("then", ["up", "destroy"])
def test_what_had_arrived_when_it_was_killed_is_used_by_the_next_up_and_removed_by_destroy(
    quick: Fabric, standin_index: IndexServer, then: str
) -> None:
    name = next(name for name in standin_index.files if name.startswith("xllamacpp"))
    standin_index.faults[name] = Fault(stall_after=1000)
    running = quick.start("up", "--no-smoke")
    parts = quick.prefix / "partial"
    assert eventually(lambda: [path.stat().st_size for path in parts.glob("*.part")] == [1000])
    running.child.kill()
    running.finish()
    standin_index.faults.clear()
    standin_index.released.set()
    if then == "up":
        heals(quick)
        assert standin_index.requests_for(name)[-1].headers["range"] == "bytes=1000-"
        assert not list(parts.iterdir())
    else:
        quick.succeed("destroy", "--yes")
        assert not quick.prefix.exists()
