"""The same as at every moment, injected from outside by strace: the kernel's own answer, at sampled system calls."""

from __future__ import annotations

import shutil
import signal
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.faults.oracle import WISH, Oracle
from tests.standin.command import Fabric, Outcome

pytestmark = [pytest.mark.faults, pytest.mark.timeout(600)]
CALLS = ("fsync", "rename", "unlink", "write", "mkdir", "symlink")  # not close, of which the loader makes the first
ERRORS = ("EIO", "ENOSPC", "EFBIG")
SAMPLES = 3  # of each call: near its first, in the middle, near its last


def traced(quick: Fabric, *words: str) -> Fabric:
    strace = shutil.which("strace")
    assert strace
    return replace(quick, program=(strace, "-qq", "-e", "signal=none", *words, *quick.program))


def counted(quick: Fabric, *words: str) -> Counter[str]:
    """How often the main thread makes each of the calls."""
    log = quick.home / "calls"
    outcome = traced(quick, "-o", str(log), "-e", f"trace={','.join(CALLS)}")(*words)
    assert outcome.returncode == 0, outcome.said
    counts = Counter(line.partition("(")[0] for line in log.read_text(encoding="utf-8").splitlines())
    log.unlink()
    return counts


def samples(count: int) -> list[int]:
    return sorted({1 + (count - 1) * number // (SAMPLES - 1) for number in range(SAMPLES)}) if count else []


def injected(quick: Fabric, call: str, what: str, number: int, *words: str) -> Outcome:
    rule = f"inject={call}:{what}:when={number}"
    return traced(quick, "-o", "/dev/null", "-e", f"trace={call}", "-e", rule)(*words)


@pytest.mark.fault("killed-from-outside")
def test_a_command_that_is_killed_at_a_system_call_is_finished_by_the_next(
    quick: Fabric, oracle: Oracle, record_property: Callable[[str, object], None]
) -> None:
    quick.succeed("up", *WISH)
    counts = counted(quick, "up", *WISH, "--context", "600")
    done = 0
    for call in CALLS[:4]:
        for number in samples(counts[call]):
            wish = (*WISH, "--context", str(700 + done))
            outcome = injected(quick, call, "signal=SIGKILL", number, "up", *wish)
            if outcome.returncode:
                oracle.survived(quick, outcome, -signal.SIGKILL, wish=wish)
                done += 1
    assert done >= len(CALLS[:4])
    record_property("blows", done)
    oracle.nothing_left(quick)


@pytest.mark.fault("disk-error-from-outside")
@pytest.mark.parametrize("error", ERRORS)
def test_a_system_call_that_fails_is_told_and_finished_by_the_next(
    quick: Fabric, oracle: Oracle, error: str, record_property: Callable[[str, object], None]
) -> None:
    quick.succeed("up", *WISH)
    counts = counted(quick, "up", *WISH, "--context", "600")
    assert sum(counts.values()) > len(CALLS)
    for call in CALLS:
        for number in samples(counts[call]):
            outcome = injected(quick, call, f"error={error}", number, "up", *WISH, "--context", "700")
            assert quick.succeed("status")["state"] == "ready", f"{call} {number} {error}: {outcome.said}"
            oracle.survived(quick, outcome)
    record_property("blows", sum(len(samples(counts[call])) for call in CALLS))
    oracle.nothing_left(quick)
