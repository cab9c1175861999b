"""Once all is locked and fetched, no network is needed: in a network namespace that has nothing but loopback."""

from __future__ import annotations

import subprocess

import pytest

from tests.faults.oracle import WISH, Oracle
from tests.standin.command import NOBODY, Fabric

SCRIPT = 'ip link set lo up && "$@" up $WISH --locked && "$@" status --json && "$@" down'


@pytest.mark.fault("network-gone")
def test_what_is_locked_and_fetched_serves_without_a_network(quick: Fabric, oracle: Oracle) -> None:
    quick.succeed("lock", *WISH[1:])
    quick.succeed("up", *WISH, "--locked")
    quick.succeed("down")
    env = quick.environment({"WISH": " ".join(WISH), "PIP_INDEX_URL": NOBODY})
    command = ["unshare", "-n", "sh", "-c", SCRIPT, "sh", *quick.program]
    done = subprocess.run(command, env=env, cwd=quick.home, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert '"state": "ready"' in done.stdout
    oracle.converges(quick, (*WISH, "--locked"))
    (quick.home / "fabric.lock").unlink()
    oracle.nothing_left(quick)


@pytest.mark.faults
@pytest.mark.fault("network-gone")
def test_what_is_not_fetched_is_told_at_once_without_a_network(quick: Fabric, oracle: Oracle) -> None:
    cut_off = Fabric(quick.prefix, quick.home, NOBODY, ("unshare", "-n", *quick.program), quick.variables)
    oracle.met(cut_off("up", *WISH), 69, ["network"], within_s=20)
    oracle.survived(quick, quick("up", *WISH), 0)
    oracle.nothing_left(quick)


@pytest.mark.faults
@pytest.mark.fault("dns-gone")
def test_a_name_that_nobody_resolves_is_told_at_once(quick: Fabric, oracle: Oracle) -> None:
    unnamed = Fabric(quick.prefix, quick.home, "http://index.invalid/simple/", quick.program, quick.variables)
    oracle.met(unnamed("up", *WISH), 69, ["index.invalid"], within_s=30)
    oracle.converges(quick)
    oracle.nothing_left(quick)
