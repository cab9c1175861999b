"""``fabric verify``: every byte of the store is read, and what is not what it was is found and fetched again."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from tests.standin.command import NOBODY, Fabric


def flip(path: Path) -> bytes:
    """Turn one bit of a file around and leave no trace of it in its size and times; return what it was."""
    status, was = path.stat(), path.read_bytes()
    path.chmod(0o600)
    path.write_bytes(was[:20] + bytes([was[20] ^ 1]) + was[21:])
    path.chmod(status.st_mode)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    return was


def problems(fabric: Fabric, *, expected: int = 1) -> Any:
    outcome = fabric("verify", "--json")
    assert outcome.returncode == 1, outcome.said
    assert outcome.json["ok"] is False
    assert len(outcome.json["problems"]) == expected, outcome.said
    return outcome.json["problems"]


def model_of(fabric: Fabric) -> Path:
    (model,) = (fabric.prefix / "models").iterdir()
    return model


def test_a_flipped_byte_of_the_model_is_found_fetched_again_and_set_aside(quick: Fabric) -> None:
    up = quick.succeed("up", "--no-smoke")
    clean = quick.succeed("verify")
    assert (clean["ok"], clean["problems"], clean["unhashed"]) == (True, [], [])
    assert clean["files"] > 10
    was = flip(model_of(quick))
    assert quick.succeed("status")["drift"] == [], "without reading it, nobody sees that"
    (problem,) = problems(quick)
    assert (problem["kind"], problem["resource"]) == ("content", f"model/{up['model']}")
    assert problem["path"] == str(model_of(quick))
    assert problem["sha256"] != problem["expected_sha256"]
    assert quick.server_pid() == up["pid"], "only looked at"
    repaired = quick.succeed("verify", "--repair")
    assert (repaired["ok"], repaired["restarted"]) == (True, True)
    assert model_of(quick).read_bytes() == was
    assert quick.server_pid() != up["pid"]
    (aside,) = (path for path in Path(repaired["quarantine"]).rglob("*") if path.is_file())
    assert aside.name == model_of(quick).name
    assert quick.succeed("verify")["ok"] is True
    assert quick.succeed("up", "--no-smoke")["changed"] is False
    assert [each["kind"] for each in quick.succeed("gc")["removed"]] == ["quarantine"]


def test_what_is_missing_changed_or_added_in_an_engine_is_told_and_put_right(quick: Fabric) -> None:
    up = quick.succeed("up", "--no-smoke")
    (engine,) = (quick.prefix / "engines").iterdir()
    module = next(engine.rglob("xllamacpp.py"))
    flip(module)
    config = engine / "pyvenv.cfg"
    config.unlink()
    (engine / "notes.txt").write_text("of mine", encoding="utf-8")
    found = {Path(each["path"]).name: each["kind"] for each in problems(quick, expected=3)}
    assert found == {"xllamacpp.py": "content", "pyvenv.cfg": "missing", "notes.txt": "extra"}
    repaired = quick.succeed("verify", "--repair")
    assert (repaired["ok"], repaired["restarted"], len(repaired["repaired"])) == (True, True, 3)
    (kept,) = Path(repaired["kept"]).rglob("notes.txt")
    assert kept.read_text(encoding="utf-8") == "of mine"
    assert quick.succeed("verify")["ok"] is True
    assert quick.server_pid() not in (None, up["pid"])


def test_what_was_only_touched_is_put_back_without_fetching_or_restarting(quick: Fabric) -> None:
    up = quick.succeed("up", "--no-smoke")
    model = model_of(quick)
    os.utime(model)
    model.chmod(0o644)
    problems(quick)
    repaired = quick.succeed("verify", "--repair", env={"PIP_INDEX_URL": NOBODY})
    assert (repaired["ok"], repaired["restarted"], repaired["quarantine"]) == (True, False, None)
    assert quick.server_pid() == up["pid"]
    assert quick.succeed("status")["drift"] == []


def test_a_server_that_is_stopped_is_not_started_for_a_repair(quick: Fabric) -> None:
    quick.succeed("up", "--no-smoke")
    quick.succeed("down")
    flip(model_of(quick))
    assert quick.succeed("verify", "--repair")["restarted"] is False
    assert quick.succeed("status")["state"] == "stopped"
    assert quick.succeed("verify")["ok"] is True


def test_what_cannot_be_fetched_again_is_an_error_and_heals_later(quick: Fabric) -> None:
    quick.succeed("up", "--no-smoke")
    flip(model_of(quick))
    failed = quick("verify", "--repair", "--json", env={"PIP_INDEX_URL": NOBODY})
    assert failed.returncode == 69, failed.said
    assert "quarantine" in failed.json["error"]["hint"]
    assert quick.succeed("status")["state"] == "ready", "what runs goes on"
    (problem,) = problems(quick)
    assert problem["kind"] == "missing"
    quick.succeed("up", "--no-smoke")
    assert quick.succeed("verify")["ok"] is True


def test_a_stranger_in_the_store_is_told_and_left_alone(quick: Fabric) -> None:
    quick.succeed("up", "--no-smoke")
    stranger = quick.prefix / "models" / "mine.gguf"
    stranger.write_bytes(b"of mine")
    (problem,) = problems(quick)
    assert (problem["kind"], problem["path"]) == ("extra", str(stranger))
    repaired = quick("verify", "--repair", "--json")
    assert repaired.returncode == 1, repaired.said
    assert repaired.json["left"] == [str(stranger)]
    assert quick.succeed("gc")["strangers"] == [str(stranger)]
    assert stranger.exists()


def test_a_prefix_that_cannot_be_written_to_is_verified_all_the_same(quick: Fabric) -> None:
    quick.succeed("up", "--no-smoke")
    flip(model_of(quick))
    script = 'mount --bind "$P" "$P" && mount -o remount,bind,ro "$P" && ! touch "$P/x" 2>&- && exec "$@"'
    command = ["unshare", "-m", "sh", "-c", script, "sh", *quick.program, "verify", "--json"]
    trial = ["unshare", "-m", "mount", "--bind", str(quick.prefix), str(quick.prefix)]
    if shutil.which("unshare") is None or subprocess.run(trial, capture_output=True, check=False).returncode:
        pytest.skip("no mounts of its own can be made here")
    env = quick.environment({"P": str(quick.prefix)})
    done = subprocess.run(command, env=env, cwd=quick.home, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stdout + done.stderr
    (problem,) = json.loads(done.stdout)["problems"]
    assert problem["kind"] == "content"


def test_nobody_changes_anything_while_it_reads(quick: Fabric) -> None:
    quick.succeed("up", "--no-smoke")
    with (quick.prefix / "lock").open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        running = quick.start("verify", "--json")
        with pytest.raises(subprocess.TimeoutExpired):
            running.child.wait(2)
    assert running.finish().returncode == 0


@pytest.mark.faults
@pytest.mark.timeout(600)
@pytest.mark.parametrize("point", ["journal", "rename", "replace", "unlink"])
def test_a_repair_that_is_killed_is_finished_by_the_next_up(quick: Fabric, point: str) -> None:
    quick.succeed("up", "--no-smoke")
    for number in count(1):
        flip(model_of(quick))
        killed = quick("verify", "--repair", env={"STANDIN_KILL": f"{point}:{number}"})
        if killed.returncode == 0:
            break
        assert killed.returncode == -9, killed.said
        quick.succeed("up", "--no-smoke")
        if quick("verify").returncode:  # it was killed before the damaged file was set aside
            quick.succeed("verify", "--repair")
        assert quick.succeed("status")["state"] == "ready"
    assert number > 1, "there is such a moment"


@pytest.mark.parametrize("form", ["text", "json"])
def test_where_nothing_is_there_all_is_well_and_nothing_is_made(quick: Fabric, form: str) -> None:
    outcome = quick("verify", *(["--json"] if form == "json" else []))
    assert outcome.returncode == 0, outcome.said
    assert not quick.prefix.exists()


def test_up_does_not_fetch_a_large_model_again_that_was_only_touched(quick: Fabric) -> None:
    reads_nothing = "import runpy, provision.apply.records as r; r.REHASH_BYTES = 1; "
    run = f"{reads_nothing}runpy.run_path({quick.program[1]!r}, {{}}, '__main__')"
    strict = replace(quick, program=(sys.executable, "-c", run))
    strict.succeed("up", "--no-smoke")
    model = model_of(quick)
    inode = model.stat().st_ino
    os.utime(model)
    (drift,) = strict.succeed("status")["drift"]
    assert drift["reason"] == f"{model.name} was touched"
    (planned,) = [each for each in strict("plan", "--json").json["changes"] if each["resource"].startswith("model/")]
    assert planned["known_after_apply"] == ["download_bytes"], "it is read first, and fetched only where that tells so"
    strict.succeed("up", "--no-smoke", "--offline", env={"PIP_INDEX_URL": NOBODY})
    assert model.stat().st_ino == inode
    assert strict.succeed("status")["drift"] == []


def test_what_is_damaged_and_needed_by_nobody_goes(quick: Fabric) -> None:
    quick.succeed("up", "--no-smoke")
    state = json.loads((quick.prefix / "state.json").read_text(encoding="utf-8"))
    needed = model_of(quick)
    other = needed.with_name(f"{'0' * 64}.gguf")
    other.write_bytes(b"other")
    entry = {**state["entries"][needed.name], "key": other.name, "path": f"models/{other.name}", "pulled": False}
    entry["known_as"] = {}
    state["entries"][other.name] = entry
    (quick.prefix / "state.json").write_text(json.dumps(state), encoding="utf-8")
    repaired = quick.succeed("verify", "--repair", env={"PIP_INDEX_URL": NOBODY})
    assert (repaired["ok"], len(repaired["repaired"])) == (True, 1)
    assert quick.succeed("verify")["ok"] is True
    assert model_of(quick) == needed


def test_current_is_repaired_by_a_look_at_the_store_and_by_up(quick: Fabric) -> None:
    quick.succeed("up", "--no-smoke")
    current = quick.prefix / "current"
    current.unlink()
    assert quick("verify").returncode == 1
    quick.succeed("verify", "--repair")
    assert current.readlink() == Path("gen/1")
    current.unlink()
    current.symlink_to("gen/0")
    (drift,) = quick.succeed("status")["drift"]
    assert drift["reason"] == "current leads to gen/0, not gen/1"
    quick.succeed("up", "--no-smoke")
    assert quick.succeed("status")["drift"] == []
