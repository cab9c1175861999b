"""What a server, and all that it starts, may do: where it listens, what it gave up, what it was told."""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from provision.plan.service_unit import supervisor_argv
from tests.standin.command import Fabric, eventually

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="read from /proc")
SECRETS = {"HF_TOKEN": "hf_canary", "AWS_SECRET_ACCESS_KEY": "canary", "PYTHONOPTIMIZE": "2", "LD_PRELOAD": ""}


def have_it_open(fabric: Fabric, address: str) -> Path:
    """Have the server open one more socket from its next start on."""
    model = next(path for path in (fabric.prefix / "models").iterdir() if path.suffix == ".gguf")
    told = Path(f"{model}.opens")
    told.write_text(address, encoding="utf-8")
    return told


@pytest.mark.parametrize("address", ["0.0.0.0", "127.0.0.1"])  # noqa: S104 - what must not be
def test_a_server_that_opens_more_than_was_declared_is_stopped(quick: Fabric, address: str) -> None:
    quick.succeed("up", "--no-smoke")
    quick.succeed("down")
    told = have_it_open(quick, address)
    outcome = quick("up", "--no-smoke", "--json")
    assert outcome.returncode == 77, outcome.said
    error = outcome.json["error"]
    assert error["code"] == "exposed"
    assert f"{address}:" in error["message"]
    assert quick.processes() == [], "nothing listens any more"
    assert quick.succeed("status")["state"] == "stopped"
    told.unlink()
    assert quick.succeed("up", "--no-smoke")["changed"] is True


def test_a_socket_that_is_opened_later_is_found_by_the_next_up(quick: Fabric) -> None:
    up = quick.succeed("up", "--no-smoke")
    told = have_it_open(quick, "0.0.0.0")  # noqa: S104 - what must not be
    os.kill(up["pid"], signal.SIGKILL)  # its supervisor starts it again
    status = eventually(
        lambda: quick.succeed("status"), until=lambda s: s["state"] == "ready" and s["pid"] != up["pid"]
    )
    assert [each["kind"] for each in status["drift"]] == ["address"]
    assert "0.0.0.0:" in status["drift"][0]["reason"]
    failed = [each for each in quick.succeed("doctor")["security"] if each["outcome"] == "failed"]
    assert [each["code"] for each in failed] == ["listening-sockets"]
    assert failed[0]["fix"]
    assert quick("up", "--no-smoke").returncode == 77
    assert quick.processes() == []
    told.unlink()


def test_what_listens_is_what_was_declared(quick: Fabric) -> None:
    up = quick.succeed("up", "--no-smoke")
    port = int(up["base_url"].rpartition(":")[2].partition("/")[0])
    listening = [
        (each.laddr.ip, each.laddr.port)
        for process in quick.processes()
        for each in process.net_connections("tcp")
        if each.status == psutil.CONN_LISTEN
    ]
    assert listening == [("127.0.0.1", port)]
    with socket.socket() as probe:
        probe.bind(("127.0.0.2", port))


@linux_only
def test_server_and_supervisor_leave_no_core_and_gain_no_privileges(quick: Fabric) -> None:
    quick.succeed("up", "--no-smoke", preexec_fn=lambda: os.umask(0))
    assert len(quick.processes()) == 2
    for process in quick.processes():
        status = Path(f"/proc/{process.pid}/status").read_text(encoding="ascii")
        fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        assert fields["NoNewPrivs"] == "1"
        assert fields["Umask"] == "0077"
        soft, hard = resource.prlimit(process.pid, resource.RLIMIT_CORE)
        assert soft == hard <= 1, "one byte is less than a page, and stops a program that cores are piped to, too"


@linux_only
def test_no_variable_of_the_users_reaches_the_server(quick: Fabric) -> None:
    quick.succeed("up", "--no-smoke", env=SECRETS)
    for process in quick.processes():
        assert not SECRETS.keys() & process.environ().keys()


def looked_at(fabric: Fabric, code: str) -> Any:
    """Return what doctor says of one promise."""
    (found,) = [each for each in fabric.succeed("doctor")["security"] if each["code"] == code]
    return found


def test_doctor_names_the_variables_that_a_server_has_and_should_not_have(quick: Fabric) -> None:
    quick.succeed("up", "--no-smoke", env=SECRETS)
    assert looked_at(quick, "server-environment")["outcome"] == "ok"
    quick.succeed("down")
    kept = quick.prefix / "run" / "environment.json"
    kept.write_text(json.dumps({**json.loads(kept.read_bytes()), "MY_TOKEN": "canary-4711"}), encoding="utf-8")
    supervisor = subprocess.Popen(supervisor_argv(quick.prefix))  # as a service manager does with the login
    try:
        eventually(lambda: quick.succeed("status"), until=lambda status: status["state"] == "ready")
        found = looked_at(quick, "server-environment")
    finally:
        supervisor.terminate()
        supervisor.wait()
    assert found["outcome"] == "failed"
    assert "MY_TOKEN" in found["evidence"]
    assert "canary-4711" not in found["evidence"]


@linux_only
def test_a_server_that_crashes_leaves_no_core(quick: Fabric, tmp_path: Path) -> None:
    quick.succeed("up", "--no-smoke")
    quick.succeed("down")
    model = next(path for path in (quick.prefix / "models").iterdir() if path.suffix == ".gguf")
    Path(f"{model}.crash").touch()
    before = set(Path("/").glob("core*"))  # the server's working directory
    unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    outcome = quick(
        "up", "--no-smoke", "--timeout", "3", preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CORE, unlimited)
    )
    assert outcome.returncode == 1, outcome.said
    assert not [path for path in tmp_path.rglob("core*") if path.is_file()]
    assert set(Path("/").glob("core*")) == before
