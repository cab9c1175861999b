"""Services whose manager refuses, and supervisors of whom nobody has heard."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from provision.domain.server import ProcessIdentity, Runtime
from provision.errors import FabricError
from provision.host import process
from provision.host.process_search import with_arguments
from provision.plan.service_unit import supervisor_argv
from provision.serve import control
from provision.serve.keeper import Builtin
from provision.serve.runtime import read_runtime
from provision.serve.systemd import Systemd
from tests.standin.command import eventually
from tests.standin.kept_place import Place, kept_place
from tests.standin.service_managers import LINGERING, calls


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    with kept_place(tmp_path, monkeypatch) as made:
        yield made
        assert supervisors(made) == []


def supervisors(place: Place) -> list[ProcessIdentity]:
    return with_arguments(supervisor_argv(place.layout.prefix)[1:], place.layout.prefix)


@contextmanager
def frozen(supervisor: ProcessIdentity) -> Iterator[None]:
    """Stand in for a supervisor that is slow: it has not begun, or does not come to its end."""
    process.send(supervisor, signal.SIGSTOP)
    try:
        yield
    finally:
        process.send(supervisor, signal.SIGCONT)


def refusing(place: Place) -> Place:
    """The same, where polkit asks for a password."""
    return replace(place, keeping=replace(place.keeping, env={**place.keeping.env, "STANDIN_POLKIT": "no"}))


def test_lingering_that_is_not_allowed_is_told_and_not_on_record(place: Place) -> None:
    with pytest.raises(FabricError, match="Interactive authentication required") as refused:
        refusing(place).change("systemd", linger=True)
    assert "sudo loginctl enable-linger" in (refused.value.hint or "")
    assert not place.record().lingers
    assert refusing(place).change("builtin").unit is None, "the way back does not ask for what was never given"


def test_lingering_that_an_administrator_turned_on_after_a_refusal_stays_on(place: Place) -> None:
    with pytest.raises(FabricError):
        refusing(place).change("systemd", linger=True)
    mark = place.known / LINGERING / "root"
    mark.parent.mkdir()
    mark.touch()
    refusing(place).change("systemd", linger=True)
    place.keeping.take_away(place.state)
    assert mark.exists()
    assert sum(call.startswith("loginctl") for call in calls(place.known)) == 1


@pytest.mark.parametrize("service", ["systemd", "builtin"])
def test_lingering_that_cannot_be_turned_off_is_told_and_nothing_else_fails(place: Place, service: str) -> None:
    place.change("systemd", linger=True)
    unit = refusing(place).change(service).unit
    assert "Lingering was not turned off" in place.told.lines[0]
    assert "sudo loginctl disable-linger" in place.told.lines[0]
    assert unit is None or unit.lingers, "so that the next `up` tries again"
    refusing(place).keeping.take_away(place.state)


def test_lingering_that_somebody_turned_off_is_not_asked_for_again(place: Place) -> None:
    place.change("systemd", linger=True)
    (place.known / LINGERING / "root").unlink()
    assert refusing(place).change("builtin").unit is None
    assert place.told.lines == []


@pytest.mark.parametrize("damage", [None, b"", b"{", b"\0" * 300])
def test_a_supervisor_whose_word_is_lost_is_found_and_ended(place: Place, damage: bytes | None) -> None:
    place.keeping.start(1)
    (supervisor,), server = supervisors(place), process.identify(place.server_pid() or 0)
    assert server
    if damage is None:
        place.layout.runtime.unlink()
    else:
        place.layout.runtime.write_bytes(damage)
    assert place.keeping.stop() is True
    assert not process.is_running(supervisor)
    assert not process.is_running(server)
    assert place.keeping.stop() is False


def test_a_server_goes_with_its_supervisor_where_both_are_deaf_and_unheard_of(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control, "STOP_MARGIN_S", 0.1)
    monkeypatch.setattr(Runtime, "stop_grace_s", 0)
    place.keeping.start(1)
    (supervisor,), server = supervisors(place), process.identify(place.server_pid() or 0)
    assert server
    place.layout.runtime.unlink()
    with frozen(supervisor), frozen(server):
        assert place.keeping.stop() is True
        assert not process.is_running(supervisor)
        assert not process.is_running(server)


def test_a_supervisor_that_has_not_spoken_yet_is_found_and_ended(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """The ``up`` that started it was killed before it said anything."""
    monkeypatch.setattr(control, "STOP_MARGIN_S", 0.1)
    monkeypatch.setattr(Runtime, "stop_grace_s", 0)
    place.layout.logs.mkdir()
    keeper = Builtin(place.layout, place.keeping.env)
    keeper.start()
    supervisor = process.identify(keeper._pid)
    assert supervisor
    with frozen(supervisor):  # at once: there is nothing here that it could serve, and it would end by itself
        assert supervisors(place) == [supervisor]
        assert place.keeping.stop() is True
        assert not process.is_running(supervisor)


def test_a_killed_supervisor_that_its_silent_manager_starts_again_is_ended_too(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """systemd does so a second later, whether or not ``systemctl`` gets through to it."""
    monkeypatch.setattr(control, "STOP_MARGIN_S", 0.1)
    monkeypatch.setattr(Systemd, "restarts_within_s", 1.0)
    place.change("systemd")
    place.keeping.start(1)
    (supervisor,) = supervisors(place)
    runtime = read_runtime(place.layout)
    assert runtime is not None
    place.layout.runtime.write_bytes(msgspec.json.encode(replace(runtime, stop_grace_s=0)))
    again = Builtin(place.layout, place.keeping.env)

    def restart() -> None:
        process.wait_gone(supervisor, 10)
        time.sleep(0.3)
        again.start()

    manager = threading.Thread(target=restart)
    manager.start()
    with frozen(supervisor):
        assert replace(place.keeping, env={**place.keeping.env, "PATH": "/nowhere"}).stop() is True
    manager.join()
    assert not again.is_up()


def test_launchd_is_waited_for_where_it_says_too_early_that_a_service_has_ended(place: Place) -> None:
    place.change("launchd")
    place.keeping.start(1)
    hasty = replace(place.keeping, env={**place.keeping.env, "STANDIN_HASTE": "1"})
    (supervisor,) = supervisors(place)
    with frozen(supervisor):
        threading.Timer(1.0, process.send, (supervisor, signal.SIGCONT)).start()
        hasty.start(1)
    assert not process.is_running(supervisor)
    place.keeping.stop()


class Slow(Builtin):
    """One that starts supervisors which do not come to speak."""

    def start(self) -> None:
        super().start()
        os.kill(self._pid, signal.SIGSTOP)


class NoSpace(Builtin):
    """One that starts supervisors which can write nothing."""

    def start(self) -> None:
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
        try:
            super().start()
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_start_that_gives_up_ends_what_it_has_started(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "STOP_MARGIN_S", 0.1)
    monkeypatch.setattr(control, "SPAWN_TIMEOUT_S", 0.1)
    monkeypatch.setattr(Runtime, "stop_grace_s", 0)
    with pytest.raises(FabricError, match="did not start"):
        control.start(place.layout, 1, place.keeping.env, Slow(place.layout, place.keeping.env))
    assert supervisors(place) == []


def test_a_supervisor_that_cannot_write_its_first_word_starts_no_server(place: Place) -> None:
    with pytest.raises(FabricError, match="did not start"):
        control.start(place.layout, 1, place.keeping.env, NoSpace(place.layout, place.keeping.env))
    assert supervisors(place) == []
    assert read_runtime(place.layout) is None


def test_the_supervisor_of_another_place_of_that_name_is_let_be(place: Place, tmp_path: Path) -> None:
    """As in a container: the same path and the same user, and another file system."""
    prefix, other = place.layout.prefix, tmp_path / "other"
    place.keeping.start(1)
    place.keeping.stop()
    shutil.copytree(prefix, other, symlinks=True)
    (other / place.layout.runtime.relative_to(prefix)).unlink()
    script = 'mount --bind "$0" "$1" && shift && exec "$@"'
    argv = ["unshare", "-m", "sh", "-c", script, str(other), str(prefix), *supervisor_argv(prefix)]
    with subprocess.Popen(argv, stderr=subprocess.PIPE, text=True) as theirs:
        try:
            if not eventually((other / place.layout.runtime.relative_to(prefix)).exists, timeout_s=5):
                theirs.kill()
                pytest.skip(f"cannot mount here: {theirs.stderr.read() if theirs.stderr else ''}")
            assert Path(f"/proc/{theirs.pid}/cmdline").read_text(encoding="utf-8").split("\0")[4] == str(prefix)
            assert place.keeping.stop() is False
            assert theirs.poll() is None
        finally:
            theirs.terminate()
