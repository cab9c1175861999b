"""Programs of an engine: what ends a trial from outside is not held against it, and they run as the server will."""

from __future__ import annotations

import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from provision.apply.install import Installer
from provision.cli.progress import ProgressOutput
from provision.domain.engine import Launch
from provision.engines.registry import ENGINES
from provision.errors import InterruptedByUserError
from provision.host.layout import Layout
from tests.standin.selections import select_for_small_machine

WAITS = Launch((sys.executable, "-c", "import time; time.sleep(60)"), {})


def installer(prefix: Path, stop: threading.Event) -> Installer:
    selection = select_for_small_machine()
    return Installer(Layout(prefix), selection, ENGINES[selection.backend], {}, ProgressOutput(), stop)


def test_a_trial_that_is_stopped_because_something_else_failed_says_nothing_of_the_engine(tmp_path: Path) -> None:
    stop = threading.Event()
    stop.set()
    with pytest.raises(InterruptedByUserError):
        installer(tmp_path, stop)._run(WAITS, 60)


def test_a_trial_that_takes_too_long_does(tmp_path: Path) -> None:
    assert installer(tmp_path, threading.Event())._run(WAITS, 0.2).timed_out


def test_every_program_of_an_engine_runs_in_the_server_s_environment(tmp_path: Path) -> None:
    shows = Launch((sys.executable, "-c", "import os; print(os.environ.get('HOME'), os.environ.get('TOKEN'))"), {})
    users = installer(tmp_path, threading.Event())
    of_the_server = replace(users, env={"HOME": "/home/user", "TOKEN": "t"}, engine_env={"HOME": "/prefix/home"})
    assert of_the_server._run(shows, 60).stdout.split() == ["/prefix/home", "None"]
    assert of_the_server.layout.child_home.joinpath("tmp").is_dir(), "TMPDIR is there"
