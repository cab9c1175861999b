"""Servers that write more than anybody reads, and logs that cannot be written."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from provision.serve.server_log import KEPT_FILES, ROTATE_BYTES
from tests.faults.oracle import WISH, Oracle
from tests.faults.scripted import scripted_model
from tests.standin.command import Fabric, eventually

pytestmark = pytest.mark.faults
MIB = 1 << 20
MOUNT, UNMOUNT = "/bin/mount", "/bin/umount"

# As fast as it can, while it answers; ``flooded`` is there when all of it has been taken.
FLOODS = """
def flood():
    lines = (b"x" * 199 + b"\\n") * 5000
    for _ in range({mib}):
        os.write(2, lines[:1 << 20])
    open(os.path.join(PLACE, "flooded"), "w").close()
threading.Thread(target=flood, daemon=True).start()
"""
FLOOD_MIB = 100
TAKES_AT_MOST_S = 60


def log_bytes(fabric: Fabric) -> int:
    return sum(path.stat().st_size for path in (fabric.prefix / "logs").glob("server.log*"))


@pytest.mark.fault("log-flood")
def test_a_flood_is_rotated_and_never_holds_up_the_server(quick: Fabric, oracle: Oracle, tmp_path: Path) -> None:
    model = scripted_model(tmp_path, FLOODS.format(mib=FLOOD_MIB))
    began = time.monotonic()
    up = oracle.met(quick("up", *model.wish, "--json"), 0)
    assert eventually((model.place / "flooded").exists, timeout_s=TAKES_AT_MOST_S)
    assert time.monotonic() - began < TAKES_AT_MOST_S
    assert quick.succeed("status")["state"] == "ready"
    files = sorted(path.name for path in (quick.prefix / "logs").glob("server.log*"))
    assert len(files) == 1 + KEPT_FILES
    assert log_bytes(quick) <= (1 + KEPT_FILES) * ROTATE_BYTES
    assert quick("logs").stdout.count("\n") > 1
    assert oracle.converges(quick, model.wish)["pid"] == up.json["pid"]
    oracle.nothing_left(quick)


SAYS_MORE = """
def say():
    while True:
        print("x" * 999, file=sys.stderr, flush=True)
        time.sleep(0.0002)
threading.Thread(target=say, daemon=True).start()
"""


@pytest.fixture
def small_disk(quick: Fabric) -> Iterator[Path]:
    """A file system of 1 MiB in the place of the logs of what is set up already."""
    quick.succeed("up", *WISH)
    quick.succeed("down")
    logs = quick.prefix / "logs"
    subprocess.run([MOUNT, "-t", "tmpfs", "-o", "size=1m,mode=700", "none", str(logs)], check=True)
    yield logs
    subprocess.run([UNMOUNT, "-l", str(logs)], check=True)


@pytest.mark.fault("log-disk-full")
def test_a_full_disk_costs_lines_and_never_the_server(
    quick: Fabric, oracle: Oracle, tmp_path: Path, small_disk: Path
) -> None:
    model = scripted_model(tmp_path, SAYS_MORE)
    up = oracle.met(quick("up", *model.wish, "--json"), 0)
    assert eventually(lambda: log_bytes(quick) >= MIB)
    status = quick.succeed("status")
    assert (status["state"], status["pid"], status["restarts"]) == ("ready", up.json["pid"], 0)
    log = small_disk / "server.log"
    log.write_bytes(b"")  # somebody makes room
    assert eventually(lambda: b"bytes were dropped here\n" in log.read_bytes())
    oracle.met(quick("down", "--json"), 0)
    model.behave()
    oracle.converges(quick, model.wish)
