"""Running programs: bounded in time, ended with all that they started."""

from __future__ import annotations

import os
import resource
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from provision.host import program
from provision.host.pipes import MAX_OUTPUT_BYTES
from provision.host.program import NOT_FOUND, Command, follow, run


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


# What leaves the group of the program that started it, and keeps its output open.
AWAY = "import subprocess, sys; child = subprocess.Popen(['sleep', '30'], start_new_session=True); "


def end(pid: int) -> None:
    os.kill(pid, 9)


def open_files() -> list[str]:
    return sorted(path.name for path in Path("/proc/self/fd").iterdir())


def test_what_a_program_leaves_behind_is_not_waited_for() -> None:
    started = time.monotonic()
    done = run(python(f"{AWAY}print(child.pid); sys.exit(3)"), os.environ)
    took_s = time.monotonic() - started
    end(int(done.stdout))
    assert (done.returncode, done.stderr) == (3, "")
    assert took_s < program.LEFT_OPEN_S + 1.5


def test_a_program_that_leaves_nothing_behind_is_not_waited_for_longer_than_it_runs() -> None:
    started = time.monotonic()
    assert run(Command(("true",)), os.environ).returncode == 0
    assert time.monotonic() - started < program.LEFT_OPEN_S


def test_what_stays_in_the_group_of_a_program_that_has_ended_is_ended() -> None:
    code = "import subprocess; print(subprocess.Popen(['sleep', '30']).pid)"
    done = run(python(code), os.environ)
    assert done.returncode == 0
    assert soon(lambda: gone(int(done.stdout)))


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_program_that_never_stops_printing_is_ended_at_once(stream: str) -> None:
    before_kib, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    code = f"import os\nwhile True: os.write({('stdout', 'stderr').index(stream) + 1}, b'y' * 65536)"
    done = run(python(code, 60), os.environ)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib) << 10
    assert (done.returncode, done.stderr) == (-9, "printed more than 8 MiB")
    assert done.stdout == ("y" * MAX_OUTPUT_BYTES if stream == "stdout" else "")
    assert time.monotonic() - started < 10
    assert grown < 8 * MAX_OUTPUT_BYTES


def test_as_much_as_may_be_printed_is_all_kept() -> None:
    done = run(python(f"import sys; sys.stdout.write('y' * {MAX_OUTPUT_BYTES})"), os.environ)
    assert (done.returncode, len(done.stdout), done.stderr) == (0, MAX_OUTPUT_BYTES, "")


@pytest.mark.parametrize("closing", ["", "os.close(1); os.close(2); "], ids=["open", "closed"])
def test_what_was_printed_before_the_timeout_is_kept(closing: str) -> None:
    code = f"import os, time; os.write(1, b'so far'); {closing}time.sleep(60)"
    done = run(python(code, 0.6), os.environ)
    assert (done.returncode, done.stdout, done.stderr) == (124, "so far", "no answer within 0.6 s")


def test_a_timeout_is_kept_however_little_can_be_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is deaf, with another that has left its group and holds the output open."""
    monkeypatch.setattr(program, "KILL_GRACE_S", 0.3)
    note = tmp_path / "pid"
    deaf = f"{AWAY}import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
    code = f"{deaf}open({str(note)!r}, 'w').write(str(child.pid)); time.sleep(60)"
    started = time.monotonic()
    done = run(python(code, 0.8), os.environ)
    took_s = time.monotonic() - started
    end(int(note.read_text(encoding="utf-8")))
    assert done.timed_out
    assert took_s < 0.8 + 2 * 0.3 + 0.5


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # it is still running
def test_a_program_that_cannot_be_killed_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program, "KILL_GRACE_S", 0.2)
    spared: list[int] = []
    with monkeypatch.context() as patch:
        patch.setattr(os, "killpg", lambda pid, _: spared.append(pid))
        started = time.monotonic()
        done = run(Command(("sleep", "30"), timeout_s=0.2), os.environ)
        took_s = time.monotonic() - started
    os.killpg(spared[0], 9)
    os.waitpid(spared[0], 0)
    assert done.timed_out
    assert took_s < 0.2 + 2 * 0.2 + 0.5


def test_a_program_is_given_its_input_whole() -> None:
    text = "line\n" * 100_000
    done = run(Command(("cat",), stdin=text), os.environ)
    assert (done.returncode, done.stdout == text) == (0, True)


def test_a_program_need_not_read_its_input() -> None:
    assert run(Command(("true",), stdin="x" * 1_000_000), os.environ).returncode == 0


def test_a_program_without_input_reads_nothing() -> None:
    assert run(Command(("cat",), timeout_s=5), os.environ) == program.CommandResult(0)


def test_a_program_is_ended_as_soon_as_that_is_wanted() -> None:
    stop, started = threading.Event(), time.monotonic()
    threading.Timer(0.2, stop.set).start()
    done = run(Command(("sleep", "30"), timeout_s=30), os.environ, stop)
    assert done.timed_out
    assert time.monotonic() - started < 2


def test_nothing_of_ours_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program, "KILL_GRACE_S", 0.3)
    before = threading.active_count(), open_files(), psutil.Process().children()
    for command in (Command(("true",)), Command(("sleep", "30"), 0.1), Command(("yes",)), Command(("/",))):
        run(command, os.environ)
    assert (threading.active_count(), open_files(), psutil.Process().children()) == before


def test_both_streams_are_heard_as_one_and_nothing_is_kept() -> None:
    heard = bytearray()
    code = "import os\nfor part in range(3): os.write(1, b'out %d ' % part); os.write(2, b'err %d ' % part)"
    done = follow(python(code), os.environ, heard.extend)
    assert done == program.CommandResult(0)
    assert heard == b"out 0 err 0 out 1 err 1 out 2 err 2 "


def test_output_is_heard_while_the_program_runs() -> None:
    """It ends only when it is told to, and that is done when its line has come."""
    stop, heard = threading.Event(), bytearray()

    def hear(data: bytes) -> None:
        heard.extend(data)
        stop.set()

    done = follow(python("import os, time; os.write(1, b'ready'); time.sleep(60)", 30), os.environ, hear, stop)
    assert (done.timed_out, bytes(heard)) == (True, b"ready")


def test_a_program_that_is_followed_may_print_more_than_is_kept_of_others() -> None:
    size = 0

    def hear(data: bytes) -> None:
        nonlocal size
        size += len(data)

    code = f"import os\nfor _ in range(20): os.write(1, b'y' * {1 << 20})"
    assert follow(python(code, 30), os.environ, hear).returncode == 0
    assert size == 20 << 20 > MAX_OUTPUT_BYTES


@pytest.mark.parametrize("deaf", ["", "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); "])
def test_a_program_whose_output_cannot_be_taken_is_ended(monkeypatch: pytest.MonkeyPatch, deaf: str) -> None:
    """Not even while it is being ended, as on a full disk."""
    monkeypatch.setattr(program, "KILL_GRACE_S", 1)

    def hear(_: bytes) -> None:
        raise OSError("the disk is full")

    code = f"{deaf}import os, time\nwhile True: os.write(1, b'line'); time.sleep(0.01)"
    before = psutil.Process().children()
    with pytest.raises(OSError, match="disk is full"):
        follow(python(code, 30), os.environ, hear)
    assert psutil.Process().children() == before


def test_a_program_that_is_followed_and_does_not_exist_is_not_found() -> None:
    assert follow(Command(("no-such-program",)), os.environ, lambda _: None) == NOT_FOUND
