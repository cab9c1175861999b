"""Clocks that jump: the one on the wall, and the one that counts from another beginning."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.faults.oracle import WISH, Oracle
from tests.standin.command import Fabric

DAY_S = 86_400
JUMPING = f"""
import runpy, sys, time
real, turns = time.time, [0]
def jumping():
    turns[0] += 1
    return real() + ({DAY_S} if turns[0] % 2 else -{DAY_S})
time.time = jumping
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.mark.fault("clock-jump")
def test_a_clock_that_jumps_a_day_forth_and_back_all_the_time_changes_nothing(
    quick: Fabric, oracle: Oracle, tmp_path: Path
) -> None:
    program = tmp_path.with_name(f"{tmp_path.name}-jumping.py")
    program.write_text(JUMPING, encoding="utf-8")
    jumping = replace(quick, program=(sys.executable, str(program), quick.program[-1]))
    up = oracle.met(jumping("up", *WISH, "--json"), 0, within_s=30)
    assert all(seconds >= 0 for seconds in up.json["timings_s"].values())
    assert jumping.succeed("up", *WISH)["changed"] is False
    for _ in range(2):
        assert 0 <= jumping.succeed("status")["uptime_s"] < 60
    oracle.met(jumping("down", "--json"), 0, within_s=15)
    oracle.converges(quick)
    oracle.nothing_left(quick)


@pytest.mark.fault("clock-offset")
@pytest.mark.parametrize("offset_s", [10_000_000, -1])
def test_a_steady_clock_may_count_from_anywhere(quick: Fabric, oracle: Oracle, offset_s: int) -> None:
    """As in a container that was moved: every command, and the server, in a name space of times of its own."""
    shifted = ("unshare", "-T", "--monotonic", str(offset_s), "--boottime", str(offset_s), "--fork")
    there = replace(quick, program=(*shifted, *quick.program))
    oracle.met(there("up", *WISH, "--json"), 0)
    oracle.converges(there)
    oracle.met(there("down", "--json"), 0)
    oracle.nothing_left(there)
