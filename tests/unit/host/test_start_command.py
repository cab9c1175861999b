"""A command of the user's that starts something: what stays, and what does not."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest

from provision.errors import FabricError
from provision.host.process import identify
from provision.host.start_command import END_GRACE_S, StartCommand, starting

ENV = dict(os.environ)


T = TypeVar("T")


class GaveUpError(Exception):
    pass


def give_up(line: str, after: Callable[[StartCommand], T]) -> T:
    """Start ``line``, and raise in the body after what ``after`` does; return what that returned."""
    found: list[T] = []
    with pytest.raises(GaveUpError), starting(line, ENV) as command:
        _give_up(found.append, after(command))
    return found[0]


def _give_up(keep: Callable[[T], None], found: T) -> None:
    keep(found)
    raise GaveUpError


def ended(command: StartCommand) -> int:
    until = time.monotonic() + 10
    while (code := command.exit_code()) is None and time.monotonic() < until:
        time.sleep(0.01)
    assert code is not None
    return code


def pid_in(file: Path) -> int:
    until = time.monotonic() + 10
    while not (file.exists() and file.read_text("ascii").strip()) and time.monotonic() < until:
        time.sleep(0.01)
    return int(file.read_text("ascii"))


def test_what_it_starts_stays_unless_the_body_gives_up(tmp_path: Path) -> None:
    line = f"sleep 60 & echo $! > '{tmp_path}/pid'; echo done"
    with starting(line, ENV) as command:
        assert ended(command) == 0
        pid = pid_in(tmp_path / "pid")
        assert command.last_words(3) == ["done"]
    assert identify(pid) is not None
    os.kill(pid, signal.SIGKILL)
    (tmp_path / "pid").unlink()
    pid, code = give_up(line, lambda command: (pid_in(tmp_path / "pid"), ended(command)))
    assert code == 0
    assert identify(pid) is None


def test_what_does_not_want_to_end_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("provision.host.start_command.END_GRACE_S", 0.3)
    line = f"trap '' TERM; echo $$ > '{tmp_path}/pid'; while :; do sleep 0.1; done"
    pid = give_up(line, lambda _: pid_in(tmp_path / "pid"))
    assert identify(pid) is None


UNCOLLECTED = """import os, time
if os.fork() == 0:
    time.sleep(60)  # ends with the group
os.setsid()  # leaves it, and never asks how its child has ended
open({0!r}, "w").write(str(os.getpid()))
time.sleep(60)
"""


def test_what_nobody_collects_is_not_waited_for(tmp_path: Path) -> None:
    code = UNCOLLECTED.format(str(tmp_path / "pid"))
    line = shlex.join([sys.executable, "-c", code]) + " & wait"
    before = time.monotonic()
    parent = give_up(line, lambda _: pid_in(tmp_path / "pid"))
    assert time.monotonic() - before < END_GRACE_S / 2
    assert identify(parent) is not None
    os.kill(parent, signal.SIGKILL)


def test_what_has_left_the_session_is_not_touched(tmp_path: Path) -> None:
    line = f"setsid sh -c 'echo $$ > {tmp_path}/pid; exec sleep 60' & sleep 60"
    pid = give_up(line, lambda _: pid_in(tmp_path / "pid"))
    assert identify(pid) is not None
    os.kill(pid, signal.SIGKILL)


def test_how_it_ended() -> None:
    for line, code in (("true", 0), ("exit 3", 3), ("kill -15 $$", -15), ("no-such-program-anywhere", 127)):
        with starting(line, ENV) as command:
            assert ended(command) == code
            assert ended(command) == code, "asking does not change it"


def test_what_was_said_last() -> None:
    with starting("printf 'a\\n\\n\\033[31mb\\007\\n\\377\\n' >&2; seq 5000; echo end", ENV) as command:
        ended(command)
        assert command.last_words(2) == ["5000", "end"]
        assert command.last_words(10_000)[-1] == "end"
    with starting("printf '\\033[31mb\\007\\377'", ENV) as command:
        ended(command)
        assert command.last_words(5) == ["b\N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER}"]


def test_a_system_that_starts_nothing_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "subprocess.Popen", lambda *_, **__: (_ for _ in ()).throw(OSError(12, "Cannot allocate memory"))
    )
    with pytest.raises(FabricError, match="starting `true`: Cannot allocate memory"), starting("true", ENV):
        pass


IGNORING = """import os, signal
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
from provision.host.start_command import starting
from tests.unit.host.test_start_command import ended
with starting("exit 3", dict(os.environ)) as command:
    print(ended(command))
"""


def test_a_process_that_ignores_how_its_children_end() -> None:
    done = subprocess.run([sys.executable, "-c", IGNORING], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "0\n"), done.stderr


def test_the_number_of_the_group_is_kept_until_the_last_signal(monkeypatch: pytest.MonkeyPatch) -> None:
    collected: list[bool] = []
    kill_group = os.killpg

    def note(group: int, number: int) -> None:
        collected.append(os.waitid(os.P_PID, group, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None)
        kill_group(group, number)

    monkeypatch.setattr(os, "killpg", note)
    give_up("exit 0", ended)
    assert collected == [False, False], "a zombie at both signals"
