"""What happens when the server, or who watches it, ends badly."""

from __future__ import annotations

import os
import re
import signal
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.standin.command import Fabric, eventually


def supervisor_of(fabric: Fabric) -> psutil.Process:
    return next(p for p in fabric.processes() if "provision.serve.supervisor" in p.cmdline())


def model_of(fabric: Fabric) -> Path:
    return next((fabric.prefix / "models").iterdir())


def damage_unseen(path: Path) -> None:
    """Change the content and neither size nor time nor mode: only who reads the file can tell."""
    before = path.stat()
    path.chmod(0o600)
    path.write_bytes(b"\0" * before.st_size)
    path.chmod(before.st_mode)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.fault("server-dies")
def test_a_server_killed_by_hand_is_restarted_and_status_never_lies(quick: Fabric) -> None:
    up = quick.succeed("up", "--no-smoke")
    os.kill(up["pid"], signal.SIGKILL)
    status = quick.succeed("status")
    assert status["state"] in ("starting", "loading", "ready")
    assert status["pid"] != up["pid"]
    healed = eventually(lambda: quick.succeed("status"), until=lambda s: s["state"] == "ready")
    assert healed["restarts"] == 1
    assert healed["pid"] != up["pid"]
    assert healed["base_url"] == up["base_url"]
    again = quick.succeed("up", "--no-smoke")
    assert again["pid"] == healed["pid"]


@pytest.mark.fault("server-dies")
def test_up_waits_for_a_server_that_is_being_restarted(quick: Fabric) -> None:
    up = quick.succeed("up", "--no-smoke")
    os.kill(up["pid"], signal.SIGKILL)
    again = quick.succeed("up", "--no-smoke")
    assert again["pid"] not in (None, up["pid"])
    assert quick.succeed("status")["state"] == "ready"
    assert len(quick.processes()) == 2


@pytest.mark.fault("supervisor-killed")
def test_a_killed_supervisor_takes_the_server_with_it_and_up_heals(quick: Fabric) -> None:
    up = quick.succeed("up", "--no-smoke")
    supervisor_of(quick).kill()
    assert eventually(lambda: not psutil.pid_exists(up["pid"]), timeout_s=5), "the server must not stay alone"
    status = quick.succeed("status")
    assert status["state"] == "failed"
    assert "supervisor" in status["detail"]
    assert status["pid"] is None, "no process serves"
    again = quick.succeed("up", "--no-smoke")
    assert again["changed"] is True
    assert quick.succeed("status")["state"] == "ready"
    assert len(quick.processes()) == 2


@pytest.mark.fault("supervisor-killed")
def test_both_killed_is_healed_too(quick: Fabric) -> None:
    quick.succeed("up", "--no-smoke")
    for process in quick.processes():
        process.kill()
    assert eventually(lambda: quick.processes() == [])
    assert quick.succeed("status")["state"] == "failed"
    quick.succeed("up", "--no-smoke")
    assert len(quick.processes()) == 2


@pytest.mark.faults
@pytest.mark.fault("server-will-not-stop", "zombie")
def test_a_server_that_does_not_end_is_ended_by_down(quick: Fabric) -> None:
    up = quick.succeed("up", "--no-smoke")
    psutil.Process(up["pid"]).suspend()
    stopped = quick.succeed("down")
    assert stopped["stopped"] is True
    assert quick.processes() == []


@pytest.mark.fault("server-dies")
def test_a_model_that_cannot_be_loaded_is_a_failure_in_words(quick: Fabric) -> None:
    quick.succeed("up", "--no-smoke")
    quick.succeed("down")
    damage_unseen(model_of(quick))
    failed = quick("up", "--no-smoke", "--json")
    assert failed.returncode == 1, failed.said
    assert failed.json["error"]["code"] == "server-failed"
    assert "cannot be loaded" in failed.json["error"]["message"]
    status = quick.succeed("status")
    assert status["state"] == "failed"
    assert "cannot be loaded" in status["detail"]
    assert status["pid"] is None
    assert quick.processes() == [], "a restart cannot help, so there is none"


@pytest.mark.fault("server-dies")
def test_a_server_that_dies_over_its_first_token_tells_why(quick: Fabric) -> None:
    quick.succeed("up", "--no-smoke")
    quick.succeed("down")
    Path(f"{model_of(quick)}.choke").touch()
    failed = quick("up", "--no-smoke", "--json")
    assert failed.returncode == 1, failed.said
    told = failed.json["error"]["message"]
    assert "the model file cannot be loaded" in told, "decoded, not the connection that broke"
    assert "error loading model: only now it is seen" in told
    assert quick.succeed("status")["state"] == "failed"


@pytest.mark.faults
@pytest.mark.fault("server-dies")
@pytest.mark.timeout(90)
def test_a_server_that_keeps_crashing_ends_in_crash_loop(quick: Fabric) -> None:
    quick.succeed("up", "--no-smoke")
    quick.succeed("down")
    Path(f"{model_of(quick)}.crash").touch()
    failed = quick("up", "--no-smoke", "--json")
    assert failed.returncode == 1, failed.said
    assert "abort" in failed.json["error"]["message"]
    status = quick.succeed("status")
    assert status["state"] == "crash-loop"
    assert "abort" in status["detail"]
    assert status["restarts"] == 4
    assert quick.processes() == []
    Path(f"{model_of(quick)}.crash").unlink()
    quick.succeed("up", "--no-smoke")
    assert quick.succeed("status")["state"] == "ready"


class Stranger(BaseHTTPRequestHandler):
    """Somebody else's server that looks exactly like ours."""

    def do_GET(self) -> None:
        body = b'{"status": "ok", "data": [{"id": "smollm2-135m"}]}'
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        self.do_GET()

    def log_message(self, *_: Any) -> None:
        pass


@pytest.mark.fault("port-taken")
def test_somebody_elses_server_on_our_port_is_never_taken_for_ours(quick: Fabric) -> None:
    up = quick.succeed("up", "--no-smoke")
    port = int(up["base_url"].split("/")[2].split(":")[1])
    os.kill(up["pid"], signal.SIGKILL)
    assert eventually(lambda: not psutil.pid_exists(up["pid"]), timeout_s=1), "its port is free for a moment now"
    with ThreadingHTTPServer(("127.0.0.1", port), Stranger) as stranger:
        serving = threading.Thread(target=stranger.serve_forever, args=(0.02,), daemon=True)
        serving.start()
        second = quick("up", "--no-smoke", "--json", "--timeout", "5")
        stranger.shutdown()
        serving.join()
    moved = second.returncode == 0 and second.json["base_url"] != up["base_url"]
    assert moved or second.returncode != 0, f"ready, says fabric, and its server cannot be: {second.said}"


@pytest.mark.fault("server-not-ready")
def test_a_timeout_names_what_was_waited_for_and_leaves_the_server_alone(quick: Fabric) -> None:
    quick.succeed("up", "--no-smoke")
    quick.succeed("down")
    Path(f"{model_of(quick)}.crash").touch()
    late = quick("up", "--no-smoke", "--json", "--timeout", "1.5")
    assert late.returncode == 1, late.said
    assert "1.5 s" in late.json["error"]["message"]


def test_the_timeout_of_a_plan_holds_when_it_is_applied(quick: Fabric) -> None:
    quick.succeed("up", "--no-smoke")
    quick.succeed("down")
    Path(f"{model_of(quick)}.crash").touch()
    quick.succeed("plan", "--timeout", "1.5", "--out", "plan.json")
    late = quick("apply", "plan.json", "--no-smoke", "--json")
    assert late.returncode == 1, late.said
    assert "1.5 s" in late.json["error"]["message"]


@pytest.mark.fault("store-damaged")
def test_a_damaged_file_of_the_engine_is_drift_and_is_repaired(quick: Fabric) -> None:
    quick.succeed("up", "--no-smoke")
    launcher = next((quick.prefix / "engines").rglob("xllamacpp.py"))
    launcher.write_text("broken", encoding="utf-8")
    drift = quick.succeed("status")["drift"]
    assert [entry["resource"] for entry in drift] == ["engine/llamacpp"]
    healed = quick.succeed("up", "--no-smoke")
    actions = {change["resource"]: change["action"] for change in healed["changes"]}
    assert actions["engine/llamacpp"] == "replace"
    assert actions["model/smollm2-135m"] == "none"
    assert quick.succeed("status")["drift"] == []


@pytest.mark.fault("store-damaged")
@pytest.mark.parametrize("name", ["parameters.json", "server.json"])
def test_an_edited_configuration_is_drift_and_is_repaired(quick: Fabric, name: str) -> None:
    quick.succeed("up", "--no-smoke")
    edited = quick.prefix / "gen" / "1" / name
    before = edited.read_text(encoding="utf-8")
    mine = before.replace("4096", "4095") + "\n"
    edited.write_text(mine, encoding="utf-8")
    (drift,) = quick.succeed("status")["drift"]
    assert (drift["resource"], drift["kind"], drift["path"]) == ("config/llamacpp", "content", str(edited))
    assert f"+++ b/{name}" in drift["diff"]
    config = quick.succeed("plan")["changes"][2]
    assert (config["action"], config["diff"][:4]) == ("update", "--- ")
    assert "a copy of it is kept" in config["reason"]
    healed = quick("up", "--no-smoke", "--json")
    assert healed.json["changed"] is True
    kept = quick.prefix / "kept" / f"gen-1-{name}"
    assert str(kept) in healed.stderr
    assert kept.read_text(encoding="utf-8") == mine
    assert quick.succeed("status")["drift"] == []
    assert (quick.prefix / "current" / name).read_text(encoding="utf-8") == before.replace("gen/1", "gen/2")


def test_permissions_are_set_again_and_nothing_else_is_touched(quick: Fabric) -> None:
    up = quick.succeed("up", "--no-smoke")
    model = model_of(quick)
    before = model.stat()
    model.chmod(0o666)
    (drift,) = quick.succeed("status")["drift"]
    assert (drift["kind"], drift["action"]) == ("mode", "update")
    repaired = quick.succeed("up", "--no-smoke")
    assert [change["action"] for change in repaired["changes"]] == ["none", "update", "none", "none"]
    assert repaired["pid"] == up["pid"], "the server goes on"
    after = model.stat()
    assert (after.st_mode, after.st_ino) == (before.st_mode, before.st_ino)
    assert quick.succeed("status")["drift"] == []


def test_permissions_of_what_is_configured_are_set_again_and_the_server_goes_on(quick: Fabric) -> None:
    up = quick.succeed("up", "--no-smoke")
    rendered, directory = quick.prefix / "gen" / "1" / "server.json", quick.prefix / "gen" / "1"
    rendered.chmod(0o644)
    directory.chmod(0o777)
    assert {drift["kind"] for drift in quick.succeed("status")["drift"]} == {"mode"}
    repaired = quick.succeed("up", "--no-smoke")
    assert [change["action"] for change in repaired["changes"] if change["action"] != "none"] == ["update"]
    assert (repaired["pid"], quick.succeed("status")["generation"]) == (up["pid"], 1)
    assert rendered.stat().st_mode & 0o777 == 0o600
    assert directory.stat().st_mode & 0o022 == 0
    assert quick.succeed("plan")["drift"] == []


def test_what_somebody_adds_is_shown_and_stays(quick: Fabric) -> None:
    quick.succeed("up", "--no-smoke")
    mine = quick.prefix / "gen" / "1" / "notes"
    mine.write_text("mine", encoding="utf-8")
    for _ in range(2):
        (drift,) = quick.succeed("status")["drift"]
        assert (drift["kind"], drift["action"], drift["path"]) == ("extra", "none", str(mine))
        assert quick.succeed("up", "--no-smoke")["changed"] is False
    quick.succeed("up", "--no-smoke", "--context", "512")
    assert (quick.prefix / "kept" / "gen-1-notes").read_text(encoding="utf-8") == "mine"


@pytest.mark.fault("pid-reused")
def test_a_process_that_got_the_old_pid_is_not_touched(quick: Fabric) -> None:
    """The record of a server that ended long ago, whose pid belongs to somebody else by now."""
    quick.succeed("up", "--no-smoke")
    quick.succeed("down")
    stranger = psutil.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        record = quick.prefix / "run" / "server.json"
        text = record.read_text(encoding="utf-8").replace('"stopped"', '"ready"')
        for pid in {str(part) for part in re.findall(r'"pid":(\d+)', text)}:
            text = text.replace(f'"pid":{pid}', f'"pid":{stranger.pid}')
        record.write_text(text, encoding="utf-8")
        assert quick.succeed("status")["state"] != "ready"
        quick.succeed("up", "--no-smoke")
        quick.succeed("down")
        assert stranger.is_running()
        assert stranger.status() != psutil.STATUS_ZOMBIE
    finally:
        stranger.kill()
        stranger.wait()
