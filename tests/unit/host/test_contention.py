from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from types import SimpleNamespace

import psutil
import pytest

from provision.host.contention import CpuSnapshot, foreign_seconds, foreign_share, snapshot

BUSY_S = 0.4


def at(busy_s: float, cores: int = 2, **own_s: float) -> CpuSnapshot:
    return CpuSnapshot(busy_s, {int(pid[1:]): seconds for pid, seconds in own_s.items()}, cores)


def test_what_others_took_is_what_is_left() -> None:
    before, after = at(100.0, p1=5.0, p2=1.0), at(103.0, p1=6.0, p2=1.5)
    assert foreign_seconds(before, after) == pytest.approx(1.5)
    assert foreign_share(before, after, 3.0) == pytest.approx(0.25)


def test_a_new_process_counts_from_zero() -> None:
    assert foreign_seconds(at(100.0, p1=5.0), at(102.0, p1=5.5, p3=1.5)) == pytest.approx(0.0)


def test_an_ended_child_is_in_its_parents_account() -> None:
    """Process 2 had used 3 s before and 1 s in between; process 1, which waited for it, now has all 4."""
    before, after = at(100.0, p1=5.0, p2=3.0), at(101.0, p1=9.0)
    assert foreign_seconds(before, after) == pytest.approx(0.0)


def test_rounding_never_makes_it_negative() -> None:
    assert foreign_seconds(at(100.0, p1=5.0), at(100.9, p1=6.0)) == 0.0


def test_unknown_stays_unknown() -> None:
    assert foreign_seconds(None, at(1.0)) is None
    assert foreign_seconds(at(1.0), None) is None
    assert foreign_share(at(1.0), None, 1.0) is None
    assert foreign_share(at(1.0), at(2.0), 0.0) is None


def test_a_machine_without_an_account_of_its_own_is_unknown() -> None:
    """Some sandboxes report zeros for the machine and the truth for the processes."""
    assert foreign_seconds(at(0.0, p1=5.0), at(0.0, p1=6.0)) is None


def test_one_tick_is_no_proof_of_that() -> None:
    assert foreign_seconds(at(9.0, p1=5.0), at(9.0, p1=5.01)) == 0.0


def test_an_unreadable_machine_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    def denied() -> None:
        raise PermissionError

    monkeypatch.setattr(psutil, "cpu_times", denied)
    assert snapshot([]) is None


def test_time_that_the_hypervisor_took_is_foreign_and_idle_time_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    times = SimpleNamespace(user=10.0, nice=1.0, system=2.0, idle=500.0, iowait=50.0, steal=4.0)
    monkeypatch.setattr(psutil, "cpu_times", lambda: times)
    seen = snapshot([])
    assert seen is not None
    assert seen.busy_s == 17.0


@pytest.fixture
def neighbour() -> Iterator[int]:
    """Another process that computes."""
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield process.pid
    finally:
        process.kill()
        process.wait()


def test_a_busy_neighbour_is_seen_unless_it_is_one_of_ours(neighbour: int) -> None:
    """Both views of the same moments: they differ by what the neighbour took, whatever else the machine does."""
    strangers, ours = snapshot([]), snapshot([neighbour])
    used_before = sum(psutil.Process(neighbour).cpu_times()[:2])
    while sum(psutil.Process(neighbour).cpu_times()[:2]) - used_before < BUSY_S:
        time.sleep(0.02)
    strangers_after, ours_after = snapshot([]), snapshot([neighbour])
    as_foreign = foreign_seconds(strangers, strangers_after)
    as_ours = foreign_seconds(ours, ours_after)
    assert as_foreign is not None
    assert as_ours is not None
    assert as_foreign >= BUSY_S - 0.1
    assert as_foreign - as_ours >= BUSY_S - 0.15


def test_a_process_that_is_gone_is_left_out() -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    seen = snapshot([ended.pid])
    assert seen is not None
    assert set(seen.own_s) == {os.getpid()}
    assert seen.cores >= 1
