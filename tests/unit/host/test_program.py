"""Running programs: bounded in time, ended with all that they started."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from provision.host import program
from provision.host.program import NOT_FOUND, Command, run


def python(code: str, timeout_s: float = 10.0) -> Command:
    return Command((sys.executable, "-c", code), timeout_s)


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
    return state == "Z"  # an orphan that nobody has waited for yet


def soon(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.02)
    return condition()


def test_output_and_status_are_kept_apart() -> None:
    done = run(python("import sys; print('out'); print('err', file=sys.stderr); sys.exit(3)"), os.environ)
    assert (done.returncode, done.stdout, done.stderr) == (3, "out\n", "err\n")


def test_a_program_that_does_not_exist_is_not_found() -> None:
    assert run(Command(("no-such-program",)), os.environ) == NOT_FOUND


def test_a_signal_is_a_negative_status() -> None:
    assert run(python("import os; os.abort()"), os.environ).returncode == -6


def test_output_that_is_no_text_is_read_all_the_same() -> None:
    assert run(python("import os; os.write(1, b'\\xff\\x00ok')"), os.environ).stdout.endswith("ok")


def test_a_program_that_hangs_is_ended() -> None:
    started = time.monotonic()
    assert run(python("import time; time.sleep(60)", 0.2), os.environ).returncode == 124
    assert time.monotonic() - started < 10


@pytest.mark.parametrize("ignoring", [False, True], ids=["ends when asked", "has to be killed"])
def test_what_a_program_started_ends_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ignoring: bool) -> None:
    """It holds the output open, too: waiting for the end of that would take as long as it lives."""
    monkeypatch.setattr(program, "KILL_GRACE_S", 0.5)
    note = tmp_path / "pid"
    deaf = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " if ignoring else ""
    inner = f"{deaf}import time; time.sleep(60)"
    code = (
        "import subprocess, sys, time, pathlib; "
        f"child = subprocess.Popen([sys.executable, '-c', {inner!r}]); "
        f"pathlib.Path({str(note)!r}).write_text(str(child.pid)); time.sleep(60)"
    )
    assert run(python(code, 1.5), os.environ).returncode == 124
    pid = int(note.read_text(encoding="utf-8"))
    assert soon(lambda: gone(pid))
