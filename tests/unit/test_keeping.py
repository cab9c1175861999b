"""The whole way of a service, with stand-ins for the service managers that start what the files say."""

from __future__ import annotations

import hashlib
import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from provision.apply import service_file
from provision.apply.service_file import ASIDE, service_drift
from provision.apply.state import write_state
from provision.domain.drift import Drift, DriftKind
from provision.domain.plan import Action
from provision.domain.server import ServerState
from provision.errors import CannotCreateError, FabricError, RefusedError
from provision.host import children, process
from provision.serve.runtime import read_runtime
from tests.standin.command import eventually
from tests.standin.kept_place import SERVER, Place, kept_place
from tests.standin.service_managers import calls


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    with kept_place(tmp_path, monkeypatch) as made:
        yield made


def drifted(place: Place) -> list[Drift]:
    return list(service_drift(place.layout, place.keeping.env, place.record(), place.wish("systemd"), is_up=True))


@pytest.mark.parametrize("service", ["builtin", "systemd", "launchd"])
def test_a_server_starts_stops_and_starts_again_the_same_way(place: Place, service: str) -> None:
    place.change(service)
    assert place.needed(service) is Action.NONE
    for _ in range(2):
        place.keeping.start(1)
        assert place.server_pid()
        assert place.keeping.stop() is True
        assert place.server_pid() is None
        runtime = read_runtime(place.layout)
        assert runtime is not None
        assert runtime.state is ServerState.STOPPED
    assert place.keeping.stop() is False


@pytest.mark.parametrize("service", ["systemd", "launchd"])
def test_what_is_taken_away_leaves_nothing(place: Place, service: str) -> None:
    place.change(service)
    place.keeping.start(1)
    unit = place.unit()
    assert place.keeping.take_away(place.state) == [str(unit)]
    assert place.server_pid() is None
    assert list(Path(place.keeping.env["HOME"]).iterdir()) == []
    assert [each.name for each in place.known.iterdir()] == ["calls"]
    assert place.keeping.take_away(place.state) == []


def test_one_service_takes_the_place_of_another_and_none_that_of_both(place: Place) -> None:
    place.change("systemd")
    place.keeping.start(1)
    first = place.unit()
    assert place.needed("launchd") is Action.REPLACE
    place.change("launchd")
    assert place.server_pid() is None, "nobody keeps it while that changes"
    assert not first.exists()
    assert place.unit().suffix == ".plist"
    assert place.needed("builtin") is Action.DELETE
    assert place.change("builtin").unit is None
    assert list(Path(place.keeping.env["HOME"]).iterdir()) == []


def test_a_stopped_service_does_not_come_back_with_the_login(place: Place) -> None:
    place.change("systemd")
    place.keeping.start(1)
    assert drifted(place) == []
    place.keeping.stop()
    wanted_by = place.unit().parent / "default.target.wants"
    assert list(wanted_by.iterdir()) == []
    place.change("launchd")
    place.keeping.start(1)
    place.keeping.stop()
    assert [each.suffix for each in place.known.iterdir() if each.name != "calls"] == [".disabled"]


def test_what_the_last_supervisor_left_is_ended_by_the_next(place: Place) -> None:
    place.change("systemd")
    place.keeping.start(1)
    before = read_runtime(place.layout)
    assert before is not None
    straggler = process.start_detached(
        SERVER, {"FABRIC_INSTANCE": before.instance}, place.layout.supervisor_log, place.layout.prefix
    )
    os.kill(before.supervisor.pid, signal.SIGKILL)
    assert eventually(lambda: not process.is_running(before.supervisor))
    place.keeping.start(1)
    assert process.identify(straggler) is None
    children.reap(straggler)


def test_a_generation_is_started_that_current_did_not_lead_to(place: Place) -> None:
    place.layout.current.symlink_to("gen/9")
    place.keeping.start(1)
    runtime = read_runtime(place.layout)
    assert runtime is not None
    assert runtime.generation == 1


def test_what_somebody_else_wrote_is_moved_aside_and_told(place: Place) -> None:
    place.change("systemd")
    unit, text = place.unit(), place.unit().read_text(encoding="utf-8")
    unit.write_text("[Service]\n", encoding="ascii")
    assert place.needed("systemd") is Action.UPDATE
    assert [(each.kind, "-" in each.diff) for each in drifted(place)] == [(DriftKind.CONTENT, True)]
    place.change("systemd")
    assert unit.read_text(encoding="utf-8") == text
    aside = unit.with_name(unit.name + ASIDE)
    assert aside.read_text(encoding="ascii") == "[Service]\n"
    assert str(aside) in place.told.lines[0]
    unit.write_text("again", encoding="ascii")
    place.keeping.take_away(place.state)
    assert sorted(unit.parent.iterdir()) == [aside, aside.with_name(aside.name + "-2")]


def test_a_link_is_moved_aside_and_what_it_leads_to_stays(place: Place, tmp_path: Path) -> None:
    place.change("systemd")
    unit, mine = place.unit(), tmp_path / "mine"
    mine.write_text("mine", encoding="ascii")
    unit.unlink()
    unit.symlink_to(mine)
    place.change("systemd")
    assert not unit.is_symlink()
    assert mine.read_text(encoding="ascii") == "mine"


def test_a_directory_of_that_name_is_refused(place: Place) -> None:
    place.change("systemd")
    unit = place.unit()
    unit.unlink()
    unit.mkdir()
    with pytest.raises(RefusedError, match="no ordinary file"):
        place.change("systemd")
    unit.rmdir()


def test_where_the_file_cannot_be_written_nothing_is_in_the_way_of_going_back(place: Place) -> None:
    obstacle = Path(place.keeping.env["HOME"], ".config")
    obstacle.write_text("no directory", encoding="ascii")
    with pytest.raises(CannotCreateError) as refused:
        place.change("systemd")
    assert "--service builtin" in (refused.value.hint or "")
    assert place.change("builtin").unit is None
    assert obstacle.read_text(encoding="ascii") == "no directory"


def test_a_run_that_was_killed_while_it_wrote_is_taken_up_again(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it was about to write, and what stood there before, both count as ours."""
    place.change("systemd")
    unit = place.unit()
    older = "# older\n"
    unit.write_text(older, encoding="ascii")
    known = (hashlib.sha256(older.encode()).hexdigest(),)
    write_state(place.layout, replace(place.state, unit=replace(place.record(), known=known)))

    def die(*_: object, **__: object) -> object:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(service_file, "commit", die)
        with pytest.raises(KeyboardInterrupt):
            place.change("systemd")
    assert unit.read_text(encoding="ascii") == older
    place.change("systemd")
    assert place.needed("systemd") is Action.NONE
    assert place.told.lines == []


def test_lingering_is_asked_for_once_and_taken_back(place: Place) -> None:
    place.change("systemd", linger=True)
    assert place.record().lingers
    place.change("systemd")
    assert not place.record().lingers
    asked = [call for call in calls(place.known) if call.startswith("loginctl")]
    assert [call.split()[-1] for call in asked] == ["enable-linger", "disable-linger"]


def test_a_service_that_cannot_be_started_is_told_with_what_the_manager_says(place: Place) -> None:
    place.change("systemd")
    place.unit().unlink()
    with pytest.raises(FabricError, match=r"systemd did not enable .* does not exist"):
        place.keeping.start(1)


def test_without_its_manager_a_service_is_stopped_all_the_same(place: Place) -> None:
    place.change("systemd")
    place.keeping.start(1)
    alone = replace(place.keeping, env={**place.keeping.env, "PATH": "/nowhere"})
    assert alone.stop() is True
    assert place.server_pid() is None
