"""Property: whatever is wished for and whatever was done to it, after ``apply PLAN`` there is nothing left to plan."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.standin.command import Fabric

UNCHANGED, PENDING = 0, 2
Act = Callable[[Fabric, int], None]


def stored(fabric: Fabric, at: int) -> Path:
    """Return some file of the store: engine or model."""
    files = [path for place in ("engines", "models") for path in sorted((fabric.prefix / place).rglob("*"))]
    regular = [path for path in files if path.is_file() and not path.is_symlink()]
    return regular[at % len(regular)]


def delete(fabric: Fabric, at: int) -> None:
    stored(fabric, at).unlink()


def change(fabric: Fabric, at: int) -> None:
    """Flip the bits of one byte: the size stays."""
    path = stored(fabric, at)
    data = bytearray(path.read_bytes())
    if data:
        data[at % len(data)] ^= 0xFF
    path.write_bytes(data or b"no longer empty")


def change_mode(fabric: Fabric, at: int) -> None:
    path = stored(fabric, at)
    path.chmod(path.stat().st_mode ^ 0o111)


def add(fabric: Fabric, at: int) -> None:
    stored(fabric, at).with_name(f"mine-{at}.txt").write_text("not fabric's", encoding="utf-8")


def edit(fabric: Fabric, at: int) -> None:
    """Edit a rendered file of the generation in use."""
    files = sorted(path for path in (fabric.prefix / "current").resolve().iterdir() if path.is_file())
    with files[at % len(files)].open("a", encoding="utf-8") as file:
        file.write("\n# mine\n")


def kill(fabric: Fabric, _: int) -> None:
    if pid := fabric.server_pid():
        os.kill(pid, signal.SIGKILL)


def stop(fabric: Fabric, _: int) -> None:
    fabric.succeed("down")


DRIFTS = {each.__name__: each for each in (delete, change, change_mode, add, edit, kill, stop)}
SPECS = st.fixed_dictionaries(
    {
        "--context": st.sampled_from(["512", "1024"]),
        "--parallel": st.sampled_from(["1", "2"]),
        "--threads": st.sampled_from(["1", "2"]),
    }
)
ACTS = st.lists(st.tuples(st.sampled_from(sorted(DRIFTS)), st.integers(0, 99)), min_size=1, max_size=3)


def converges(fabric: Fabric, options: dict[str, str], acts: list[tuple[str, int]]) -> None:
    for name, at in acts:
        DRIFTS[name](fabric, at)
    wish = ("--port", "0", *(word for pair in options.items() for word in pair))
    assert fabric("plan", "--out", "a.plan", *wish).returncode == 0
    applied = fabric("apply", "a.plan", "--no-smoke")
    assert applied.returncode == 0, applied.said
    planned = fabric("plan", "--detailed-exitcode", *wish)
    assert planned.returncode == UNCHANGED, planned.said
    assert fabric.succeed("status")["state"] == "ready"


def test_a_few_random_wishes_and_drifts(quick: Fabric) -> None:
    hold(quick, examples=2)


@pytest.mark.faults
def test_many_random_wishes_and_drifts(quick: Fabric) -> None:
    hold(quick, examples=60)


def hold(fabric: Fabric, examples: int) -> None:
    """Let the property hold for random examples, each on what the one before has left."""
    fabric.succeed("up", "--no-smoke", "--port", "0")
    known = settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=True,  # the same examples everywhere: what fails can be run again
        phases=(Phase.generate,),  # a smaller one is not worth the minutes that it takes to find it
        suppress_health_check=[HealthCheck.too_slow],
    )
    known(given(SPECS, ACTS)(lambda options, acts: converges(fabric, options, acts)))()
