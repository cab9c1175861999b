"""What is asked after every test with the marker ``fault`` that runs the whole command, by whatever fixture.

Where ``-m`` asks for faults, each such test is followed by this: no traceback and no secret in anything that was
printed, the lock free, the state whole, ``verify`` clean or naming what is wrong; and, once the fault is lifted, the
next ``up`` makes all as it was wished, the next plan is empty, and ``destroy`` leaves nothing. A test says no more
itself than what is its own. What only asks functions has no command to be followed up; its faults have ``level: unit``.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from tests.e2e.traces import below
from tests.faults.oracle import CANARY, KEY_VARIABLE, WISH, Oracle, assert_said_well, assert_unlocked, assert_whole
from tests.standin.command import RAN, Fabric
from tests.standin.index_server import IndexServer

JUDGED = "judged"
USERS_OWN = "fabric.*"  # a specification, a lock, a catalogue: what a test spoilt there, its user takes away
MISBEHAVIOUR = "models/*.gguf.*"  # what a test lays beside a model; see tests/standin/engine.py
MARKER = "fabric-prefix"
NEEDS_A_PERSON = (65, 77)  # the state is lost or foreign: what is there has to be destroyed first, as the hint says
EVERY_CODE = frozenset(range(128))


def is_asked_for(expression: str) -> bool:
    """Tell whether ``-m`` selects faults, and does not only leave some out."""
    return re.search(r"(?<!not )\bfaults?\b", expression) is not None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None]:
    """Run the test; judge what it has left before its fixtures take it away."""
    RAN.clear()
    yield
    if item.get_closest_marker("fault") and is_asked_for(item.config.option.markexpr):
        judged = judge(getattr(item, "funcargs", {}))
        item.user_properties.append((JUDGED, judged))


def judge(arguments: Mapping[str, object]) -> int:
    """Ask it of every prefix below the test's directory that its commands were given; return how many there were."""
    for outcome in RAN.outcomes:
        assert_said_well(outcome)
    oracle, place = arguments.get("oracle"), arguments.get("tmp_path")
    judged = set(oracle.converged) if isinstance(oracle, Oracle) else set[Path]()
    own = {value.prefix: value for value in arguments.values() if isinstance(value, Fabric)}
    for fabric in used(own) if isinstance(place, Path) else ():
        if fabric.prefix not in judged and place in fabric.prefix.parents and is_reachable(fabric):
            judged.add(fabric.prefix)
            look(fabric)
            lift(fabric, arguments.values())
            heal(fabric) if fabric.prefix in own else assert_same_answer(fabric)
    return len(judged)


def used(own: Mapping[Path, Fabric]) -> list[Fabric]:
    """Return a command for each prefix that was used, in the environment or by ``--home``: the fixture's, if it is."""
    found: dict[Path, Fabric] = {}
    for fabric, words in RAN.commands:
        prefix = Path(words[words.index("--home") + 1]) if "--home" in words else fabric.prefix
        found.setdefault(prefix, own.get(prefix) or replace(fabric, prefix=prefix))
    return list(found.values())


def is_reachable(fabric: Fabric) -> bool:
    """Tell whether the mount namespace that the command joins is still there; the test has looked while it was."""
    joined = [word.partition("=")[2] for word in fabric.program if word.startswith("--mount=")]
    return all(Path(path).exists() for path in joined)


def look(fabric: Fabric) -> None:
    """Check what the fault has left: the lock is free, the state whole, and ``verify`` knows what is wrong."""
    assert_unlocked(fabric.prefix)
    if (fabric.prefix / MARKER).is_file():
        told = fabric("verify")
        assert_said_well(told)
        assert told.returncode == 0 or str(fabric.prefix) in told.said or "fabric " in told.said, told.said
        if told.returncode not in NEEDS_A_PERSON:
            assert_whole(fabric.prefix)


def lift(fabric: Fabric, arguments: Iterable[object]) -> None:
    """End what the test broke outside the prefix, and let the stand-in engine behave."""
    for index in (value for value in arguments if isinstance(value, IndexServer)):
        index.recover()
    for path in (*fabric.home.glob(USERS_OWN), *fabric.prefix.glob(MISBEHAVIOUR)):
        path.unlink()


def heal(fabric: Fabric) -> None:
    """Check that the next ``up`` does all, and ``destroy`` leaves nothing."""
    with_key = replace(fabric, variables={**fabric.variables, KEY_VARIABLE: CANARY})
    oracle = Oracle(EVERY_CODE, fabric.prefix.parent)
    up = with_key("up", *WISH)
    assert_said_well(up)
    if up.returncode in NEEDS_A_PERSON:
        assert "fabric destroy" in up.said, up.said
        with_key.succeed("destroy", "--yes")
    elif up.returncode == 1:  # a byte that differs while size and time do not is seen by who reads them all
        with_key.succeed("verify", "--repair")
    oracle.converges(with_key)
    oracle.nothing_left(with_key)


def assert_same_answer(fabric: Fabric) -> None:
    """Check that a prefix that the user gave and took back is used, or refused again and left as it is."""
    before = below(fabric.prefix.parent)
    up = fabric("up", *WISH, env={KEY_VARIABLE: CANARY})
    assert_said_well(up)
    if up.returncode == 0:
        fabric.succeed("destroy", "--yes")
    else:
        assert below(fabric.prefix.parent) == before
