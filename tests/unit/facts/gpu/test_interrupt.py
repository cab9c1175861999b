"""Ctrl-C while a vendor's program hangs: nobody waits for it, and nothing of it stays."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from types import FrameType

import pytest

from provision.facts.detect import detect
from provision.host.machine import Command, CommandResult, LocalMachine
from provision.host.replay import ReplayMachine

CARD = Path(__file__).parents[3] / "hosts" / "linux-ubuntu24.04-rx7900xtx"


class HangingMachine(ReplayMachine):
    """A captured machine whose programs are run here; ``vulkaninfo`` never answers."""

    def __init__(self, programs: Path) -> None:
        super().__init__(CARD)
        self._here = LocalMachine({"PATH": f"{programs}:/usr/bin:/bin"})

    def run(self, command: Command) -> CommandResult:
        if command.argv[0] != "vulkaninfo":
            return super().run(command)
        return self._here.run(Command(command.argv, command.timeout_s))

    def interrupt(self) -> None:
        self._here.interrupt()


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    program = tmp_path / "vulkaninfo"
    program.write_text(f"#!/bin/sh\necho $$ >{tmp_path}/pid\nexec sleep 60\n", encoding="utf-8")
    program.chmod(0o755)
    return tmp_path


def interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def test_nobody_waits_for_a_program_that_hangs(programs: Path) -> None:
    before = signal.signal(signal.SIGALRM, interrupt)
    started = time.monotonic()
    try:
        signal.setitimer(signal.ITIMER_REAL, 1.0)
        with pytest.raises(KeyboardInterrupt):
            detect(HangingMachine(programs), "/prefix")
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert time.monotonic() - started < 6, "its timeout is 10 s"
    with pytest.raises(ProcessLookupError):
        os.kill(int((programs / "pid").read_text(encoding="utf-8")), 0)
