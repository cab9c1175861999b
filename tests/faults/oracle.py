"""What is asked after every fault, whatever it was."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tests.e2e.traces import Watch
from tests.standin.command import Fabric, Outcome, eventually, gone_or_left

CANARY = "canary-b1f3-never-printed"
KEY_VARIABLE = "CANARY_KEY"
# Engine and model are named, so that no other place is asked for them: an `up` is four times as fast.
WISH = ("--no-smoke", "--model", "smollm2-135m", "--source", "wheel", "--api-key-env", KEY_VARIABLE)
PROCESSES = 2  # the supervisor and the server
TIME_LIMIT_S = 60.0
_TEMPORARY = ("**/.*.tmp-*", "staging", "journal.jsonl", "lock.holder")


class Oracle:
    """``exits`` are the codes that the faults of the test allow; ``place`` is the directory that is watched.

    ``converged`` are the prefixes that were found well after a fault.
    """

    def __init__(self, exits: frozenset[int], place: Path) -> None:
        self._exits = exits
        self._watch = Watch(place)
        self.converged: set[Path] = set()

    def met(
        self, outcome: Outcome, code: int | None = None, mentions: Iterable[str] = (), within_s: float = TIME_LIMIT_S
    ) -> Outcome:
        """Check how the command that met the fault ended: code, words, time; no traceback, no secret."""
        assert outcome.returncode in self._exits, outcome.said
        assert code is None or outcome.returncode == code, outcome.said
        for words in mentions:
            assert words in outcome.said, f"{words!r} is not in {outcome.said}"
        assert_said_well(outcome)
        assert outcome.took_s < within_s, f"{outcome.took_s:.1f} s: {outcome.said}"
        return outcome

    def survived(
        self,
        fabric: Fabric,
        outcome: Outcome,
        code: int | None = None,
        *,
        mentions: Iterable[str] = (),
        wish: tuple[str, ...] = WISH,
        still_serving: Any = None,
    ) -> Any:
        """Check all of it, and that the next ``up`` makes everything as it was wished; return its document.

        ``still_serving`` is what the ``up`` before the fault said, where its server must not have noticed anything.
        """
        self.met(outcome, code, mentions)
        assert_whole(fabric.prefix)
        if still_serving is not None:
            status = fabric.succeed("status")
            assert (status["state"], status["pid"]) == ("ready", still_serving["pid"]), status
        return self.converges(fabric, wish)

    def converges(self, fabric: Fabric, wish: tuple[str, ...] = WISH) -> Any:
        """Check that the lock is free, and that one ``up`` leaves nothing to be done; return its document."""
        assert_unlocked(fabric.prefix)
        up = fabric("up", *wish, "--json")
        assert up.returncode == 0, up.said
        assert "Waiting" not in up.stderr, up.said
        plan = fabric.succeed("plan", *(word for word in wish if word != "--no-smoke"))
        assert {change["action"] for change in plan["changes"]} == {"none"}, plan["changes"]
        fabric.succeed("verify")
        state = json.loads((fabric.prefix / "state.json").read_bytes())
        assert (fabric.prefix / "current").readlink().name == str(state["generation"])
        running = fabric.processes()
        assert len(running) == PROCESSES, [process.cmdline() for process in running]
        assert up.json["pid"] in {process.pid for process in running}
        assert not temporary(fabric.prefix)
        assert not holding_secret(fabric.prefix)
        self._watch.note()
        self.converged.add(fabric.prefix)
        return up.json

    def nothing_left(self, fabric: Fabric) -> None:
        """Destroy, and check that no file, process, port or shared memory stays."""
        outcome = fabric("destroy", "--yes")
        assert outcome.returncode == 0, outcome.said
        assert not gone_or_left(fabric.processes)
        self._watch.assert_nothing_left()


def assert_said_well(outcome: Outcome) -> None:
    """Check that neither a secret was printed nor a traceback that nobody has asked for."""
    traceback = () if outcome.debugged else ("\nTraceback",)  # an engine's own is quoted, indented
    for unwanted in (*traceback, "bug in fabric", CANARY):
        assert unwanted not in outcome.said, outcome.said


def assert_unlocked(prefix: Path) -> None:
    """Take the lock and give it back; where there is no prefix there is no lock.

    What a killed command was starting just then has the lock until it begins to run, a moment later.
    """
    path = prefix / "lock"
    assert not path.exists() or eventually(lambda: _can_lock(path), timeout_s=1.0)


def _can_lock(path: Path) -> bool:
    handle = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(handle)
    return True


def assert_whole(prefix: Path) -> None:
    """Check that the state can be read, and that ``current`` leads to a generation: each is the old one or the new."""
    state, current = prefix / "state.json", prefix / "current"
    assert not state.exists() or json.loads(state.read_bytes())["lineage"]
    assert not current.is_symlink() or any(current.iterdir())


def temporary(prefix: Path) -> list[Path]:
    """Return what is there only while something is being changed."""
    return [path for pattern in _TEMPORARY for path in prefix.glob(pattern)]


def holding_secret(prefix: Path) -> list[Path]:
    """Return the files that hold the key, and are not the one place for it."""
    files = (path for path in prefix.rglob("*") if path.is_file() and not path.is_symlink())
    return [path for path in files if "secrets" not in path.parts and CANARY.encode() in path.read_bytes()]
