"""Servers that die while they load, or that seem to be ready and are not."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.faults.oracle import WISH, Oracle
from tests.faults.scripted import scripted_model
from tests.standin.command import Fabric, eventually

pytestmark = pytest.mark.faults
LAST_WORDS = "print('these were its last words', file=sys.stderr, flush=True)\n"
SHORTLY = ("--timeout", "1.5")  # so that the crash loop need not come to its end

DEATHS = {
    "a status": ("os._exit(3)", "it ended with status 3"),
    "a bad address": ("os.kill(os.getpid(), signal.SIGSEGV)", "it crashed (segmentation fault)"),
    "an assertion": ("os.abort()", "it gave up (assertion or abort)"),
}


@pytest.mark.fault("server-dies")
@pytest.mark.parametrize(("death", "reason"), DEATHS.values(), ids=DEATHS)
def test_how_it_died_and_its_last_words_are_told_and_the_previous_server_is_back(
    quick: Fabric, oracle: Oracle, tmp_path: Path, death: str, reason: str
) -> None:
    before = quick.succeed("up", *WISH)
    model = scripted_model(tmp_path, LAST_WORDS + death)
    failed = quick("up", *model.wish, *SHORTLY, "--json")
    told = (reason, "these were its last words", "The previous server serves again")
    again = oracle.survived(quick, failed, 1, mentions=told)
    assert (again["changed"], again["base_url"]) == (False, before["base_url"])
    oracle.nothing_left(quick)


@pytest.fixture
def small_group() -> Iterator[Path]:
    """A group of processes that may use 64 MiB together, within the group of this process."""
    root = Path("/sys/fs/cgroup")
    lines = Path("/proc/self/cgroup").read_text(encoding="ascii").splitlines()
    own = {line.split(":")[1]: line.split(":", 2)[2] for line in lines}
    v1 = "memory" in own
    place = (root / "memory" if v1 else root) / own.get("memory" if v1 else "", "/").lstrip("/")
    group = place / f"fabric-test-{uuid.uuid4().hex[:8]}"
    try:
        group.mkdir()
        limits = ("memory.limit_in_bytes",) if v1 else ("memory.max", "memory.swap.max")
        (group / limits[0]).write_text(str(64 << 20), encoding="ascii")
        for limit in limits[1:]:
            with suppress(FileNotFoundError):
                (group / limit).write_text("0", encoding="ascii")
    except OSError as error:
        with suppress(OSError):
            group.rmdir()
        pytest.skip(f"no group of processes with a limit of its own can be made here: {error}")
    yield group
    assert eventually(lambda: not (group / "cgroup.procs").read_text(encoding="ascii").strip(), timeout_s=5)
    group.rmdir()


EATS = """
with open({procs!r}, "w") as group:
    group.write(str(os.getpid()))
eaten = [b"x" * (1 << 20) for _ in range(256)]
"""


@pytest.mark.fault("out-of-memory")
def test_a_server_that_the_kernel_ends_for_its_memory_is_told_apart_from_one_killed_by_hand(
    quick: Fabric, oracle: Oracle, tmp_path: Path, small_group: Path
) -> None:
    model = scripted_model(tmp_path, EATS.format(procs=str(small_group / "cgroup.procs")))
    failed = quick("up", *model.wish, *SHORTLY, "--json")
    oracle.met(failed, 1, ["ran out of memory", "smaller --context"])
    status = quick.succeed("status")
    assert status["restarts"] >= 1, "it is tried again, later each time"
    assert "ran out of memory" in status["detail"]
    model.behave()
    oracle.converges(quick, model.wish)
    oracle.nothing_left(quick)


LATE = """
began, answer = time.monotonic(), Handler.do_GET
def late(self):
    if time.monotonic() - began > 2:
        answer(self)
    else:
        {early}
Handler.do_GET = late
"""
EARLY = {
    "503": "self.send_error(503)",
    "well, and lists no model": 'self.answer({"status": "ok", "data": []})',
    "well, and lists another model": 'self.answer({"status": "ok", "data": [{"id": "another"}]})',
}


@pytest.mark.fault("server-not-ready")
@pytest.mark.parametrize("early", EARLY.values(), ids=EARLY)
def test_a_server_that_first_answers_so_is_waited_for(
    quick: Fabric, oracle: Oracle, tmp_path: Path, early: str
) -> None:
    model = scripted_model(tmp_path, LATE.format(early=early))
    up = oracle.met(quick("up", *model.wish, "--json"), 0)
    assert up.json["timings_s"]["start"] > 2
    assert oracle.converges(quick, model.wish)["pid"] == up.json["pid"]
    oracle.nothing_left(quick)


NEVER_READY = {
    "another model": (
        'Handler.do_GET = lambda self: self.answer({"data": [{"id": "another"}]})',
        "it serves another, not scripted",
    ),
    "503": ("Handler.do_GET = lambda self: self.send_error(503)", "it was not ready within 1.5 s"),
    "silence": ("Handler.do_GET = lambda self: time.sleep(600)", "timed out"),
    "no token": ("Handler.do_POST = lambda self: self.answer({'choices': []})", "it cannot generate"),
}


@pytest.mark.fault("server-not-ready")
@pytest.mark.parametrize(("script", "reason"), NEVER_READY.values(), ids=NEVER_READY)
def test_a_server_that_is_never_ready_is_not_called_so_and_the_previous_one_is_back(
    quick: Fabric, oracle: Oracle, tmp_path: Path, script: str, reason: str
) -> None:
    before = quick.succeed("up", *WISH)
    failed = quick("up", *scripted_model(tmp_path, script).wish, *SHORTLY, "--json")
    again = oracle.survived(quick, failed, 1, mentions=(reason, "The previous server serves again"))
    assert again["base_url"] == before["base_url"]
    oracle.nothing_left(quick)


FLAPS = """
answer = Handler.do_GET
Handler.do_GET = lambda self: self.send_error(503) if os.path.exists(os.path.join(PLACE, "flap")) else answer(self)
"""


@pytest.mark.fault("server-not-ready")
def test_a_server_whose_health_comes_and_goes_is_told_as_it_is_and_stays(
    quick: Fabric, oracle: Oracle, tmp_path: Path
) -> None:
    model = scripted_model(tmp_path, FLAPS)
    up, flap = quick.succeed("up", *model.wish), model.place / "flap"
    for _ in range(2):
        flap.touch()
        assert quick.succeed("status")["state"] == "loading"
        flap.unlink()
        assert quick.succeed("status")["state"] == "ready"
    flap.touch()
    waiting = quick.start("up", *model.wish, "--json")
    assert eventually(lambda: waiting.child.poll() is not None, timeout_s=1) is False, "it is waited for"
    flap.unlink()
    again = oracle.met(waiting.finish(), 0)
    assert (again.json["changed"], again.json["pid"]) == (False, up["pid"])
    oracle.nothing_left(quick)
