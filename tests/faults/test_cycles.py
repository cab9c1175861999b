"""A hundred rounds of up, a death at a random moment, up, destroy; and each time all is as it was before."""

from __future__ import annotations

import hashlib
import os
import random
import stat
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from tests.e2e.test_server_trouble import supervisor_of
from tests.e2e.traces import Watch
from tests.faults.oracle import WISH, assert_unlocked, holding_secret, temporary
from tests.standin.command import Fabric

pytestmark = pytest.mark.faults
SEED = 20261122
ROUNDS = 100
LANES = 2  # two prefixes side by side, which also try for the same port

Entry = tuple[int, str]


def snapshot(place: Path) -> dict[str, Entry]:
    """Every path below ``place`` with its mode and a hash of its content, or where it leads."""
    found: dict[str, Entry] = {}
    for directory, names, files in os.walk(place):
        for path in (Path(directory, name) for name in (*names, *files)):
            status = path.lstat()
            content = b""
            if stat.S_ISLNK(status.st_mode):
                content = os.fsencode(path.readlink())
            elif stat.S_ISREG(status.st_mode):
                content = path.read_bytes()
            found[str(path)] = (status.st_mode, hashlib.sha256(content).hexdigest())
    return found


@dataclass
class Lane:
    """One prefix, one home, and the moments at which something dies there."""

    fabric: Fabric
    place: Path
    chance: random.Random
    up_takes_s: float = 1.0

    def fill(self) -> None:
        """Put into the home what a user has there, and find out how long an ``up`` takes."""
        home = self.fabric.home
        (home / ".config").mkdir(mode=0o750)
        (home / ".config" / "app.toml").write_text("[mine]\n", encoding="utf-8")
        (home / "program").write_text("#!/bin/sh\n", encoding="utf-8")
        (home / "program").chmod(0o751)
        (home / "link").symlink_to("program")
        (self.place / "tmp").mkdir()
        self.fabric.variables["TMPDIR"] = str(self.place / "tmp")
        began = time.monotonic()
        self.fabric.succeed("up", *WISH)
        self.up_takes_s = time.monotonic() - began
        self.fabric.succeed("destroy", "--yes")

    def round(self) -> None:
        """Go through one round, and compare what is there before and after."""
        before, watch = snapshot(self.place), Watch(self.place)
        self.chance.choice(DEATHS)(self)
        up = self.fabric.succeed("up", *WISH)
        watch.note()
        assert up["pid"] in {process.pid for process in self.fabric.processes()}
        assert_unlocked(self.fabric.prefix)
        assert not temporary(self.fabric.prefix)
        assert not holding_secret(self.fabric.prefix)
        self.fabric.succeed("destroy", "--yes")
        watch.assert_nothing_left()
        assert snapshot(self.place) == before


def kill_command(lane: Lane) -> None:
    running = lane.fabric.start("up", *WISH)
    time.sleep(lane.chance.uniform(0, lane.up_takes_s))
    running.child.kill()
    running.finish()


def kill_server(lane: Lane) -> None:
    psutil.Process(lane.fabric.succeed("up", *WISH)["pid"]).kill()


def kill_supervisor(lane: Lane) -> None:
    lane.fabric.succeed("up", *WISH)
    supervisor_of(lane.fabric).kill()


def kill_all(lane: Lane) -> None:
    running = lane.fabric.start("up", *WISH)
    time.sleep(lane.chance.uniform(0, lane.up_takes_s))
    for process in lane.fabric.processes():
        with suppress(psutil.NoSuchProcess):  # it came to its end by itself
            process.kill()
    running.finish()


def kill_destroy(lane: Lane) -> None:
    lane.fabric.succeed("up", *WISH)
    running = lane.fabric.start("destroy", "--yes")
    time.sleep(lane.chance.uniform(0, 0.5))
    running.child.kill()
    running.finish()


DEATHS: tuple[Callable[[Lane], None], ...] = (
    *([kill_command] * 5),
    *([kill_all] * 2),
    kill_server,
    kill_supervisor,
    kill_destroy,
)


@pytest.mark.timeout(600)
@pytest.mark.fault("full-cycle")
def test_a_hundred_rounds_leave_nothing_behind(
    quick: Fabric, other: Fabric, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    record_property("blows", ROUNDS)
    places = (tmp_path / "one", tmp_path / "two")
    lanes = []
    for number, (fabric, place) in enumerate(zip((quick, other), places, strict=True)):
        fabric.prefix, fabric.home = place / "made" / "for it" / "prefix", place / "home"
        fabric.variables = {**quick.variables}
        fabric.home.mkdir(parents=True)
        lanes.append(Lane(fabric, place, random.Random(SEED + number)))  # noqa: S311 - a test that can be repeated

    def run(lane: Lane) -> None:
        lane.fill()
        for number in range(ROUNDS // LANES):
            try:
                lane.round()
            except AssertionError as error:
                raise AssertionError(f"round {number} in {lane.place.name}, seed {SEED}: {error}") from error

    with ThreadPoolExecutor(LANES) as pool:
        for done in [pool.submit(run, lane) for lane in lanes]:
            done.result()
